//! What a comparison found, and how it is told.

use std::fmt;

use super::{Finding, Outcome, Side, count};

/// What was found, by file; its `Display` is the text that the command prints.
#[derive(Debug)]
pub struct Report {
    pub(super) files: Vec<FileReport>,
}

#[derive(Debug)]
pub struct FileReport {
    pub name: String,
    pub finding: Finding,
}

impl Report {
    /// The worst that was found.
    pub fn outcome(&self) -> Outcome {
        // No file at all proves nothing.
        let outcomes = self.files.iter().map(|file| file.finding.outcome());
        outcomes.max().unwrap_or(Outcome::Incomparable)
    }

    /// Whether everything is identical.
    pub fn is_identical(&self) -> bool {
        self.outcome() == Outcome::Identical
    }

    fn with_outcome(&self, outcome: Outcome) -> usize {
        self.files.iter().filter(|file| file.finding.outcome() == outcome).count()
    }

    fn has_only_in(&self, side: Side) -> bool {
        self.files.iter().any(|file| matches!(file.finding, Finding::OnlyIn(only) if only == side))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut tensors, mut differing_tensors) = (0, 0);
        for FileReport { name, finding } in &self.files {
            match finding {
                Finding::Metrics(metrics) => writeln!(f, "{name}: {metrics}")?,
                Finding::Text(text) => writeln!(f, "{name}: {text}")?,
                Finding::OnlyIn(side) => writeln!(f, "{name}: could not compare: only in the {side}")?,
                Finding::Unreadable(reason) => writeln!(f, "{name}: could not compare: {reason}")?,
                Finding::Tensors(compared) => {
                    tensors += compared.len();
                    differing_tensors += compared.differing();
                    writeln!(f, "{name}: {compared}")?;
                }
            }
        }
        let (files, differing) = (self.files.len(), self.with_outcome(Outcome::Different));
        let (of_files, of_tensors) = (count(files, "file"), count(tensors, "tensor"));
        match self.outcome() {
            Outcome::Identical => return writeln!(f, "identical: {of_files}, {of_tensors}, 0 differences"),
            Outcome::Different => {}
            Outcome::Incomparable => {
                write!(f, "could not compare: {} of {of_files}; ", self.with_outcome(Outcome::Incomparable))?;
            }
        }
        writeln!(f, "different: {differing} of {of_files}, {differing_tensors} of {of_tensors}")?;
        if self.has_only_in(Side::Reference) && self.has_only_in(Side::Candidate) {
            writeln!(f, "(to compare runs of different version numbers, name their two version folders)")?;
        }
        Ok(())
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Side::Reference { "reference" } else { "candidate" })
    }
}

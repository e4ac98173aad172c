//! Two texts: the first line that differs or, with a tolerance, the numbers that differ, word by word.

use std::fmt;

use serde::Serialize;

use super::numbers::{Differences, Gap, Size, Tolerance};
use super::verdict::{Finding, Verdict, numbers_differ};
use crate::util::text::{MAX_SHOWN, count, excerpt};

/// The result of comparing two texts.
#[derive(Debug, Serialize)]
pub struct Text {
    /// The reference's number of lines.
    lines: usize,
    close: Option<Close>,
    /// None if the texts are identical.
    first_line: Option<TextDifference>,
}

impl Text {
    pub fn between(reference: &[u8], candidate: &[u8], tolerance: Option<Tolerance>) -> Self {
        let lines = reference.split_inclusive(|&byte| byte == b'\n').count();
        if reference == candidate {
            return Self { lines, close: None, first_line: None };
        }
        let close = tolerance.and_then(|tolerance| Close::between(reference, candidate, tolerance));
        Self { lines, close, first_line: Some(TextDifference::between(reference, candidate)) }
    }
}

impl Finding for Text {
    fn verdict(&self) -> Verdict {
        match self {
            Self { first_line: None, .. } => Verdict::Identical,
            Self { close: Some(_), .. } => Verdict::Close,
            _ => Verdict::Different,
        }
    }

    fn size(&self) -> Size {
        self.close.as_ref().map_or(Size::default(), |close| Size {
            count: close.differing,
            max_abs: close.max_abs_difference,
            sum_abs: close.sum_abs,
        })
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self { close: Some(close), .. } => write!(f, "close: {close}"),
            Self { first_line: Some(text), .. } => write!(f, "{text}"),
            Self { lines, .. } => write!(f, "identical ({})", count(*lines, "line")),
        }
    }
}

/// The first difference of two texts; lines and a line's bytes count from 1.
#[derive(Debug, Serialize)]
pub struct TextDifference {
    line: usize,
    byte: usize,
    /// The line, or an excerpt; none if the text ends before it.
    reference: Option<String>,
    candidate: Option<String>,
}

impl TextDifference {
    /// Compares two texts that are not identical.
    pub fn between(reference: &[u8], candidate: &[u8]) -> Self {
        let same = reference.iter().zip(candidate).take_while(|(left, right)| left == right).count();
        let before = &reference[..same];
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        // Cut a long line down to where it changes.
        let within = same - start;
        let from = if within > MAX_SHOWN / 2 { within - MAX_SHOWN / 4 } else { 0 };
        // Keep the line end, which may be the only difference.
        let shown = |text: &[u8]| {
            text[start..].split_inclusive(|&byte| byte == b'\n').next().map(|line| excerpt(line, from))
        };
        Self {
            line: before.iter().filter(|&&byte| byte == b'\n').count() + 1,
            byte: within + 1,
            reference: shown(reference),
            candidate: shown(candidate),
        }
    }
}

impl fmt::Display for TextDifference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // In quotes, because the lines of torchinfo's tables end with spaces.
        let quoted = |line: &Option<String>| match line {
            Some(line) => format!("\"{line}\""),
            None => "(ends before this line)".to_owned(),
        };
        let Self { line, byte, reference, candidate } = self;
        write!(f, "first difference in line {line}, byte {byte}")?;
        write!(f, "\n    reference: {}\n    candidate: {}", quoted(reference), quoted(candidate))
    }
}

/// The numbers that differ between two texts whose words are otherwise the same.
#[derive(Debug, Serialize)]
struct Close {
    differing: usize,
    max_abs_difference: f64,
    #[serde(skip)]
    sum_abs: f64,
}

impl Close {
    /// None if a word differs, or a number by more than the tolerance.
    fn between(reference: &[u8], candidate: &[u8], tolerance: Tolerance) -> Option<Self> {
        let (left, right) = (str::from_utf8(reference).ok()?, str::from_utf8(candidate).ok()?);
        let (mut left, mut right) = (left.split_whitespace(), right.split_whitespace());
        let mut differences = Differences::new(Some(tolerance));
        loop {
            match (left.next(), right.next()) {
                (None, None) => break,
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => {
                    let (a, b) = (number(a), number(b));
                    let same_around = a.0 == b.0 && a.2 == b.2;
                    let gap = Gap::of_texts(a.1, b.1).filter(|_| same_around)?;
                    differences.add(Some(gap), ());
                }
                _ => return None,
            }
        }
        let Size { count: differing, max_abs: max_abs_difference, sum_abs } = differences.size;
        (differences.beyond == 0).then_some(Self { differing, max_abs_difference, sum_abs })
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.differing == 0 {
            return f.write_str("only the white space differs");
        }
        write!(f, "{} by {:.3e} at most", numbers_differ(self.differing), self.max_abs_difference)
    }
}

/// Splits a word such as `0.34},` into the number and the text before and after it.
fn number(word: &str) -> (&str, &str, &str) {
    let is_digit = |c: char| c.is_ascii_digit();
    let Some(first) = word.find(is_digit) else { return (word, "", "") };
    let start = if word[..first].ends_with(['-', '+']) { first - 1 } else { first };
    let end = word.rfind(is_digit).map_or(word.len(), |last| last + 1);
    (&word[..start], &word[start..end], &word[end..])
}

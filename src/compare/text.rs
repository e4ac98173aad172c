//! `stdout.txt`, by bytes; and what all texts share: their form (line ends, byte order mark).

use std::fmt;

use super::{Side, count};
use crate::util::text::{LONGEST_SHOWN, excerpt};

pub const BOM: &[u8] = b"\xEF\xBB\xBF";

#[derive(Debug)]
pub struct Text {
    lines: usize,
    form: Vec<String>,
    first: Option<LineDifference>,
}

#[derive(Debug)]
struct LineDifference {
    line: usize,
    reference: Option<String>,
    candidate: Option<String>,
}

impl Text {
    pub fn compare(reference: &[u8], candidate: &[u8]) -> Text {
        let lines = lines(reference).count();
        if reference == candidate {
            return Text { lines, form: Vec::new(), first: None };
        }
        let (mut form, first) =
            (differences_in_form(reference, candidate), first_difference(reference, candidate));
        if form.is_empty() && first.is_none() {
            form.push("the line ends, which are mixed".to_owned());
        }
        Text { lines, form, first }
    }

    pub fn is_identical(&self) -> bool {
        self.form.is_empty() && self.first.is_none()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(LineDifference { line, reference, candidate }) = &self.first else {
            return match &self.form[..] {
                [] => write!(f, "identical ({})", count(self.lines, "line")),
                form => write!(f, "differs only in {}", form.join("; in ")),
            };
        };
        write!(f, "first difference in line {line}")?;
        for (side, shown) in [(Side::Reference, reference), (Side::Candidate, candidate)] {
            match shown {
                // In quotes, as the tables of torchinfo have spaces at the ends of their lines.
                Some(line) => write!(f, "\n    {side}: \"{line}\"")?,
                None => write!(f, "\n    {side}: (ends before this line)")?,
            }
        }
        self.form.iter().try_for_each(|form| write!(f, "\n    also differs in {form}"))
    }
}

fn first_difference(reference: &[u8], candidate: &[u8]) -> Option<LineDifference> {
    let (mut left, mut right) = (lines(reference), lines(candidate));
    for line in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                let (a, b) = (left.unwrap_or_default(), right.unwrap_or_default());
                let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                // Of a long line only the part where it changes.
                let start = if same > LONGEST_SHOWN / 2 { same - LONGEST_SHOWN / 4 } else { 0 };
                let shown = |line: &[u8]| excerpt(line, start);
                return Some(LineDifference {
                    line,
                    reference: left.map(shown),
                    candidate: right.map(shown),
                });
            }
        }
    }
    None
}

/// The lines without their ends, so that only [`differences_in_form`] speaks of those.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    text.split_inclusive(|&byte| byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

/// What differs between two texts that their lines don't show.
pub fn differences_in_form(reference: &[u8], candidate: &[u8]) -> Vec<String> {
    let mut form = Vec::new();
    if let Some(side) = only_side(reference.starts_with(BOM), candidate.starts_with(BOM)) {
        form.push(format!("the byte order mark, which only the {side} has"));
    }
    if let (Some(left), Some(right)) = (line_ends(reference), line_ends(candidate))
        && left != right
    {
        form.push(format!("the line ends: reference {left}, candidate {right}"));
    }
    if let Some(side) = only_side(reference.ends_with(b"\n"), candidate.ends_with(b"\n")) {
        form.push(format!("the end of the last line, which only the {side} has"));
    }
    form
}

fn only_side(reference: bool, candidate: bool) -> Option<Side> {
    match (reference, candidate) {
        (true, false) => Some(Side::Reference),
        (false, true) => Some(Side::Candidate),
        _ => None,
    }
}

/// Counts rather than a name alone, so that two mixtures are told apart.
fn line_ends(text: &[u8]) -> Option<String> {
    let all = text.iter().filter(|&&byte| byte == b'\n').count();
    let crlf = text.windows(2).filter(|pair| pair == b"\r\n").count();
    match (crlf, all - crlf) {
        (0, 0) => None,
        (_, 0) => Some("CRLF".to_owned()),
        (0, _) => Some("LF".to_owned()),
        (crlf, lf) => Some(format!("{crlf} CRLF and {lf} LF")),
    }
}

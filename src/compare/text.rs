//! Any two texts: by their first differing line, or word by word where numbers may differ.

use std::fmt;

use serde::Serialize;

use super::differences::Differences;
use super::element::Gap;
use super::{Tolerance, numbers_differ};
use crate::util::text::{MAX_SHOWN, excerpt};

/// Where two texts part; lines and the bytes of a line count from 1.
#[derive(Debug, Serialize)]
pub struct TextDifference {
    pub line: usize,
    pub byte: usize,
    /// The line, or a part of it; none if the text ends before it.
    pub reference: Option<String>,
    pub candidate: Option<String>,
}

impl TextDifference {
    /// Of two texts that are not the same.
    pub fn between(reference: &[u8], candidate: &[u8]) -> Self {
        let same = reference.iter().zip(candidate).take_while(|(left, right)| left == right).count();
        let before = &reference[..same];
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        // Of a long line only the part where it changes.
        let within = same - start;
        let from = if within > MAX_SHOWN / 2 { within - MAX_SHOWN / 4 } else { 0 };
        // With its end, which may be all that differs.
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
        // In quotes, as the tables of torchinfo have spaces at the ends of their lines.
        let quoted = |line: &Option<String>| match line {
            Some(line) => format!("\"{line}\""),
            None => "(ends before this line)".to_owned(),
        };
        let Self { line, byte, reference, candidate } = self;
        write!(f, "first difference in line {line}, byte {byte}")?;
        write!(f, "\n    reference: {}\n    candidate: {}", quoted(reference), quoted(candidate))
    }
}

/// Numbers that differ in two texts which have the same words otherwise.
#[derive(Debug, Serialize)]
pub struct Close {
    pub differing: usize,
    pub max_abs_difference: f64,
    #[serde(skip)]
    pub sum_abs: f64,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.differing == 0 {
            return f.write_str("only the white space differs");
        }
        write!(f, "{} by {:.3e} at most", numbers_differ(self.differing), self.max_abs_difference)
    }
}

/// The numbers that differ in two texts; none if a word or more than the tolerance differs.
pub fn close(reference: &[u8], candidate: &[u8], tolerance: Tolerance) -> Option<Close> {
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
    (differences.beyond == 0).then_some(Close {
        differing: differences.count,
        max_abs_difference: differences.max_abs,
        sum_abs: differences.sum_abs,
    })
}

/// The number in a word such as `0.34},`, and what is around it.
fn number(word: &str) -> (&str, &str, &str) {
    let is_digit = |c: char| c.is_ascii_digit();
    let Some(first) = word.find(is_digit) else { return (word, "", "") };
    let start = if word[..first].ends_with(['-', '+']) { first - 1 } else { first };
    let end = word.rfind(is_digit).map_or(word.len(), |last| last + 1);
    (&word[..start], &word[start..end], &word[end..])
}

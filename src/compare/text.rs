//! Any two texts, by their first differing line.

use crate::util::text::{LONGEST_SHOWN, excerpt};

/// Where two texts part that are not the same; lines and the bytes of a line count from 1.
pub fn difference(reference: &[u8], candidate: &[u8]) -> String {
    let same = reference.iter().zip(candidate).take_while(|(left, right)| left == right).count();
    let before = &reference[..same];
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    // Of a long line only the part where it changes.
    let within = same - start;
    let from = if within > LONGEST_SHOWN / 2 { within - LONGEST_SHOWN / 4 } else { 0 };
    // With its end, which may be all that differs; in quotes, as the tables of torchinfo have spaces at the ends of their
    // lines.
    let shown = |text: &[u8]| match text[start..].split_inclusive(|&byte| byte == b'\n').next() {
        Some(line) => format!("\"{}\"", excerpt(line, from)),
        None => "(ends before this line)".to_owned(),
    };
    let (line, byte) = (before.iter().filter(|&&byte| byte == b'\n').count() + 1, within + 1);
    let (left, right) = (shown(reference), shown(candidate));
    format!("first difference in line {line}, byte {byte}\n    reference: {left}\n    candidate: {right}")
}

//! The text files of two runs, line by line side by side.

use std::path::Path;

use similar::{ChangeTag, TextDiff};

use super::Error;
use super::comparison::MAX_BYTES;
use crate::compare::{FileReport, Found, Report};
use crate::util::file;
use crate::util::text::shown;

/// Rows of a text that a page shows.
const MAX_LINES: usize = 2000;

/// Two texts side by side.
pub struct Texts {
    pub name: String,
    pub rows: Vec<Row>,
    pub is_cut: bool,
}

/// A line of each side; none where only the other side has one.
pub struct Row {
    pub differs: bool,
    pub sides: [Option<String>; 2],
}

/// Aligns the text files that both sides have.
pub fn texts(report: &Report, folders: [&Path; 2]) -> Result<Vec<Texts>, Error> {
    let is_text = |report: &&FileReport| matches!(report.found, Found::Text { .. });
    let mut texts = vec![];
    for report in report.files.iter().filter(is_text) {
        let read = |side: usize| file::read(&folders[side].join(&report.paths[side]), MAX_BYTES);
        let [left, right] = [read(0)?, read(1)?];
        let [left, right] = [left, right].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let mut rows = rows(&left, &right);
        let is_cut = rows.len() > MAX_LINES;
        rows.truncate(MAX_LINES);
        texts.push(Texts { name: report.name.clone(), rows, is_cut });
    }
    Ok(texts)
}

/// Aligns the lines of two texts: equal ones side by side, and deleted ones beside inserted ones.
fn rows(left: &str, right: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![];
    // The next differing row without a line of the candidate.
    let mut free = 0;
    for change in TextDiff::from_lines(left, right).iter_all_changes() {
        let line = Some(shown(change.value().trim_end_matches(['\n', '\r'])));
        match change.tag() {
            ChangeTag::Equal => {
                rows.push(Row { differs: false, sides: [line.clone(), line] });
                free = rows.len();
            }
            ChangeTag::Delete => rows.push(Row { differs: true, sides: [line, None] }),
            ChangeTag::Insert if free < rows.len() => {
                rows[free].sides[1] = line;
                free += 1;
            }
            ChangeTag::Insert => {
                rows.push(Row { differs: true, sides: [None, line] });
                free = rows.len();
            }
        }
    }
    rows
}

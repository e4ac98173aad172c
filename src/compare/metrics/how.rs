//! In what two tables are written in another way, their cells apart.

use super::table::{Group, Table};

/// Of two files that are not the same, in words. Never empty where their cells are the same.
pub fn written_otherwise(bytes: [&[u8]; 2], tables: &[Table; 2], groups: &[Group]) -> Vec<String> {
    let [left, right] = tables;
    let mut otherwise = vec![];
    let mut tell = |differs: bool, what: &str| {
        if differs {
            otherwise.push(what.to_owned());
        }
    };
    let is_in_order = left.common(right).is_sorted_by_key(|column| column.at[1]);
    tell(!is_in_order, "the columns are in another order");
    tell(left.has_keys() && is_reordered(groups), "the rows are in another order, or split otherwise");
    let differ = |of: fn(&[u8]) -> bool| of(bytes[0]) != of(bytes[1]);
    tell(differ(|bytes| bytes.starts_with(b"\xef\xbb\xbf")), "a byte-order mark on one side only");
    let [a, b] = bytes.map(line_ends);
    tell(a != b, &format!("the lines of the reference end with {a}, those of the candidate with {b}"));
    tell(differ(|bytes| bytes.ends_with(b"\n") || bytes.ends_with(b"\r")), "the end of the last line");
    let [a, b] = bytes.map(|bytes| bytes.iter().filter(|&&byte| byte == b'"').count());
    tell(a != b, "quotation marks");
    tell(differ(has_empty_line), "empty lines");
    if otherwise.is_empty() && left.has_same_cells(right) {
        otherwise.push("bytes beside the cells".to_owned());
    }
    otherwise
}

/// Whether the rows that both have come in another order, or in another number.
fn is_reordered(groups: &[Group]) -> bool {
    let both: Vec<&Group> = groups.iter().filter(|[a, b]| !a.is_empty() && !b.is_empty()).collect();
    !both.is_sorted_by_key(|[_, b]| b[0]) || both.iter().any(|[a, b]| a.len() != b.len())
}

fn line_ends(bytes: &[u8]) -> &'static str {
    let count = |end: u8| bytes.iter().filter(|&&byte| byte == end).count();
    let both = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    match (both, count(b'\n') - both, count(b'\r') - both) {
        (0, 0, 0) => "nothing",
        (_, 0, 0) => "CRLF",
        (0, _, 0) => "LF",
        (0, 0, _) => "CR",
        _ => "several kinds of line ends",
    }
}

fn has_empty_line(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    // Behind the last line's end there is none.
    lines.next_back();
    lines.any(<[u8]>::is_empty)
}

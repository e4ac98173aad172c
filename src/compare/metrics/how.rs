//! In what two tables are written in another way, their cells apart.

use super::table::Table;

/// Of two files that are not the same, in words. Never empty where their cells are the same.
pub fn written_otherwise(bytes: [&[u8]; 2], tables: &[Table; 2]) -> Vec<String> {
    let [left, right] = tables;
    let mut otherwise = vec![];
    let mut tell = |differs: bool, what: &str| {
        if differs {
            otherwise.push(what.to_owned());
        }
    };
    tell(left.common(right) != right.common(left), "the columns are in another order");
    tell(is_reordered(tables), "the rows are in another order, or split otherwise");
    let differ = |of: fn(&[u8]) -> bool| of(bytes[0]) != of(bytes[1]);
    tell(differ(|bytes| bytes.starts_with(b"\xef\xbb\xbf")), "a byte-order mark on one side only");
    let [a, b] = bytes.map(line_ends);
    tell(a != b, &format!("the lines of the reference end with {a}, those of the candidate with {b}"));
    tell(differ(|bytes| bytes.ends_with(b"\n") || bytes.ends_with(b"\r")), "the end of the last line");
    let [a, b] = bytes.map(|bytes| bytes.iter().filter(|&&byte| byte == b'"').count());
    tell(a != b, "quotation marks");
    tell(differ(has_empty_line), "empty lines");
    let is_same = left.header == right.header && left.rows == right.rows;
    if otherwise.is_empty() && is_same {
        otherwise.push("bytes beside the cells".to_owned());
    }
    otherwise
}

/// Whether the rows that both have come in another order, or in another number.
fn is_reordered(tables: &[Table; 2]) -> bool {
    if !tables.iter().all(Table::has_keys) {
        return false;
    }
    let values = tables.each_ref().map(|table| table.values(true));
    let [a, b] = [(0, 1), (1, 0)].map(|(side, other)| {
        let both = values[side].order.iter().filter(|key| values[other].by_key.contains_key(*key));
        both.map(|key| (key, values[side].rows_of[key].len())).collect::<Vec<_>>()
    });
    a != b
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

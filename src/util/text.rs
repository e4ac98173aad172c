//! Makes the content of files safe for a terminal.

/// Longer excerpts are cut. The numbers in our files have at most 25 characters.
pub const MAX_SHOWN: usize = 120;

/// Bytes in hexadecimal, as in checksums.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The values in their order, each once.
///
/// ```
/// assert_eq!(islp_mnist::util::text::distinct(["b", "a", "b"].into_iter()), ["b", "a"]);
/// ```
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(vec![], |mut seen, value| {
        if !seen.contains(&value) {
            seen.push(value);
        }
        seen
    })
}

/// `1 file`, `2 files`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Escapes control characters in a name or a message, so that a file can't send them to the terminal.
pub fn shown(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// The same for a piece of a file from `start` on: invalid UTF-8 is escaped, and a long piece is cut.
pub fn excerpt(bytes: &[u8], mut start: usize) -> String {
    while start > 0 && bytes.get(start).is_some_and(|byte| byte & 0xC0 == 0x80) {
        start -= 1;
    }
    let rest = bytes.get(start..).unwrap_or_default();
    let characters = rest.utf8_chunks().flat_map(|chunk| {
        let invalid = chunk.invalid().iter().copied().map(escaped_byte);
        chunk.valid().chars().map(printable).chain(invalid)
    });
    let mut shown = String::from(if start > 0 { "…" } else { "" });
    for (i, character) in characters.enumerate() {
        if i == MAX_SHOWN {
            shown.push('…');
            break;
        }
        shown.push_str(&character);
    }
    shown
}

/// Escapes a control character.
pub fn printable(character: char) -> String {
    if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
}

/// A byte of invalid UTF-8, escaped as in bash.
pub(super) fn escaped_byte(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

//! How to show what a file holds on a terminal.

/// Longer pieces are cut; the numbers at stake have 25 characters at most.
pub const MAX_SHOWN: usize = 120;

/// Bytes in hexadecimal, as checksums are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `1 file`, `2 files`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A name or a message as it may go to a terminal: a file must not send it control characters.
pub fn shown(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// The same for a piece of a file from `start` on: invalid UTF-8 is spelt out, and what is too long is cut.
pub fn excerpt(bytes: &[u8], mut start: usize) -> String {
    while start > 0 && bytes.get(start).is_some_and(|byte| byte & 0xC0 == 0x80) {
        start -= 1;
    }
    let rest = bytes.get(start..).unwrap_or_default();
    let characters = rest.utf8_chunks().flat_map(|chunk| {
        let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
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

/// A character as it may go to a terminal.
pub fn printable(character: char) -> String {
    if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
}

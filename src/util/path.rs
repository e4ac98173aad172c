//! Paths as text: in JSON, on a terminal, in a command line to paste. A path is bytes, and need not be UTF-8.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf, absolute};

use super::text::{escaped_byte, printable};

/// The prefix of a text that is not the path itself.
const URL: &str = "file://";

/// A path as a JSON string: itself, or if it is not UTF-8 a URL such as `file:///data/o%FF`, which
/// [`from_text`] and scripts/train.py read.
pub fn to_text(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.starts_with(URL) => text.to_owned(),
        // A URL's path is absolute.
        _ => {
            let whole = absolute(path).unwrap_or_else(|_| path.to_owned());
            let encoded = whole.as_os_str().as_bytes().iter().map(|&byte| match byte {
                b'/' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            });
            URL.to_owned() + &encoded.collect::<String>()
        }
    }
}

/// The path of a text from [`to_text`].
pub fn from_text(text: &str) -> PathBuf {
    let Some(mut rest) = text.strip_prefix(URL).map(str::as_bytes) else { return text.into() };
    let mut path = vec![];
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or_default() as u8;
                (digit(high) << 4 | digit(low), behind)
            }
            _ => (byte, behind),
        };
        path.push(byte);
        rest = behind;
    }
    OsString::from_vec(path).into()
}

/// A path that is safe for a terminal: control characters and invalid UTF-8 are escaped.
pub fn shown_path(path: &Path) -> String {
    escaped(path.as_os_str(), printable)
}

/// A word as typed in bash.
pub fn shell_word(word: &OsStr) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=,@%:".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let quoted = escaped(word, |character| match character {
                '\'' | '\\' => format!(r"\{character}"),
                c if c.is_control() => c.to_string().bytes().map(escaped_byte).collect(),
                c => c.to_string(),
            });
            format!("$'{quoted}'")
        }
    }
}

/// A path as typed in bash, even after an option.
pub fn shell_path(path: &Path) -> String {
    if path.as_os_str().as_bytes().starts_with(b"-") {
        shell_word(Path::new(".").join(path).as_os_str())
    } else {
        shell_word(path.as_os_str())
    }
}

/// Escapes the characters by `escape`, and the bytes of invalid UTF-8.
fn escaped(text: &OsStr, escape: impl Fn(char) -> String) -> String {
    let chunks = text.as_bytes().utf8_chunks();
    let of_chunk = |chunk: std::str::Utf8Chunk| {
        let invalid = chunk.invalid().iter().copied().map(escaped_byte);
        chunk.valid().chars().map(&escape).chain(invalid).collect::<String>()
    };
    chunks.map(of_chunk).collect()
}

/// True if a file's name has this extension, in upper or lower case.
pub fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::process::Command;

    use super::{from_text, shell_path, shell_word, shown_path, to_text};

    const NAMES: [&[u8]; 12] = [
        b"plain/version_0",
        b"with spaces",
        b"o\xff",
        b"o\xfff\xc3",
        b"two\nlines\t\x1b[31m\x7f",
        b"it's",
        b"it's \\ \xff",
        b"-o",
        b"-\xff",
        "grüße %41 ~ → $HOME `id`".as_bytes(),
        "\u{85}".as_bytes(),
        b"file:///x",
    ];

    fn path(name: &[u8]) -> &Path {
        Path::new(OsStr::from_bytes(name))
    }

    #[test]
    fn a_path_is_read_as_it_was_written() {
        for name in NAMES {
            let whole = Path::new("/data").join(path(name));
            assert_eq!(from_text(&to_text(&whole)), whole);
        }
        assert_eq!(to_text(path(b"/a b/o\xff\xfe")), "file:///a%20b/o%FF%FE");
        assert_eq!(to_text(path("/a b/%ü".as_bytes())), "/a b/%ü");
        assert_eq!(from_text("/a%20b"), Path::new("/a%20b"), "not a URL");
        assert_eq!(from_text("file:///100%/%+1%f"), Path::new("/100%/%+1%f"), "as Python reads it");
        // Relative to the working directory.
        assert!(from_text(&to_text(path(b"o\xff"))).is_absolute());
        assert!(from_text(&to_text(path(b"file:///x"))).ends_with("file:/x"));
    }

    #[test]
    fn a_path_pasted_into_bash_is_that_path_and_has_no_control_characters() {
        for name in NAMES {
            let words = [shell_path(path(name)), shell_word(OsStr::from_bytes(name))];
            for word in words {
                assert!(!word.contains(char::is_control), "{word:?}");
                let mut bash = Command::new("bash");
                let output =
                    bash.args(["-c", &format!("printf %s {word}")]).env("LC_ALL", "C").output().unwrap();
                let printed = output.stdout.strip_prefix(b"./").unwrap_or(&output.stdout);
                // printf takes a word that begins with a hyphen for an option.
                assert!(printed == name || word.starts_with('-'), "{word}: {output:?}");
            }
        }
        assert_eq!(shell_path(path(b"-o")), "./-o");
        assert_eq!(shell_path(path(b"o\xff")), r"$'o\xff'");
        assert_eq!(shell_word(OsStr::new("")), "''");
    }

    #[test]
    fn a_path_on_a_terminal_has_no_control_characters_and_differs_from_other_paths() {
        assert_eq!(shown_path(path(b"a\n\xff")), r"a\n\xff");
        assert!(shown_path(path(b"o\xfe")) != shown_path(path(b"o\xff")));
    }
}

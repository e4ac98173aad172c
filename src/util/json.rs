//! JSON, including what only Python writes.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};

use super::path::to_text;

/// Parses JSON. Python can write the bytes of a path that is not UTF-8 as lone surrogates (PEP 383), which serde_json
/// refuses anywhere; they are read as if [`to_text`] had written that path.
///
/// # Errors
/// Bytes that are not JSON, or JSON that is not a `T`.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    let parsed = serde_json::from_slice(json);
    match str::from_utf8(json) {
        Ok(text) if parsed.is_err() && text.contains("\\u") => {
            serde_json::from_slice(&with_paths_as_text(json))
        }
        _ => parsed,
    }
}

/// Rewrites each string that contains lone surrogates.
fn with_paths_as_text(json: &[u8]) -> Vec<u8> {
    let (mut written, mut rest) = (vec![], json);
    while let Some(start) = rest.iter().position(|&byte| byte == b'"') {
        let (between, behind) = rest.split_at(start);
        let (string, behind) = behind.split_at(length(behind));
        written.extend(between);
        written.extend(as_text(string).unwrap_or_else(|| string.to_vec()));
        rest = behind;
    }
    written.extend(rest);
    written
}

/// The length of the string at the beginning, including its quotes.
fn length(json: &[u8]) -> usize {
    let mut place = 1;
    while place < json.len() && json[place] != b'"' {
        place += if json[place] == b'\\' { 2 } else { 1 };
    }
    json.len().min(place + 1)
}

/// Rewrites a string with lone surrogates; `None` if it has none.
fn as_text(string: &[u8]) -> Option<Vec<u8>> {
    if serde_json::from_slice::<String>(string).is_ok() {
        return None;
    }
    let Bytes(encoded) = serde_json::from_slice(string).ok()?;
    let (mut bytes, mut rest) = (vec![], encoded.as_slice());
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match *rest {
            // U+DC80 to U+DCFF, encoded as in UTF-8, mean the bytes 0x80 to 0xFF.
            [0xED, high @ 0xB2..=0xB3, low, ..] => (high << 6 | low & 0x3F, &rest[3..]),
            _ => (byte, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    let text = if bytes.starts_with(b"/") {
        to_text(Path::new(&OsString::from_vec(bytes)))
    } else {
        String::from_utf8_lossy(&bytes).into_owned()
    };
    serde_json::to_vec(&text).ok()
}

/// A string's bytes, including lone surrogates.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Whole)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::parse;

    #[test]
    fn a_path_that_python_wrote_as_lone_surrogates_is_read_as_that_path() {
        for (written, read) in [
            (
                r#"{"a": "/o\udcff/\"\ud83d\ude00", "b": [1]}"#,
                json!({"a": "file:///o%FF/%22%F0%9F%98%80", "b": [1]}),
            ),
            (r#"["/gr\udcc3\udcbc\u00dfe"]"#, json!(["/grüße"])),
            (r#"["\\udcff", "x\udc80", "\udbff\udc80"]"#, json!(["\\udcff", "x\u{fffd}", "\u{10fc80}"])),
        ] {
            assert_eq!(parse::<Value>(written.as_bytes()).unwrap(), read, "{written}");
        }
    }

    #[test]
    fn invalid_json_is_refused() {
        for json in [
            &br#"{"a": "/o\udcff""#[..],
            br#""/o\udcff"#,
            br#"["\"#,
            b"\"/o\xff\\udcff\"",
            br#""\udcf""#,
            b"",
        ] {
            assert!(parse::<Value>(json).is_err(), "{}", String::from_utf8_lossy(json));
        }
    }
}

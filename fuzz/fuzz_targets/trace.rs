//! Compares two traces.
#![no_main]

use std::path::Path;

use islp_mnist::compare::Verdict;
use islp_mnist::internals::compare_contents;
use libfuzzer_sys::fuzz_target;

// Two files with the byte 0xFF between them, which no UTF-8 text contains.
fuzz_target!(|bytes: &[u8]| {
    let at = bytes.iter().position(|&byte| byte == 0xFF).unwrap_or(bytes.len());
    let (reference, candidate) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let name = Path::new("run.trace");
    let report = compare_contents(name, reference, candidate).unwrap();
    let with_itself = compare_contents(name, reference, reference).unwrap();
    assert_ne!(with_itself.verdict(), Verdict::Different, "{with_itself}");
    for report in [report, with_itself] {
        let text = report.to_string();
        assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&report.to_json()).is_ok());
    }
});

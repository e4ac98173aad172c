//! Plots a metrics.csv, and compares two.
#![no_main]

use std::path::Path;

use islp_mnist::chart::{Figure, Metric, Picture};
use islp_mnist::compare::Verdict;
use islp_mnist::internals::compare_contents;
use libfuzzer_sys::fuzz_target;

// Two files with the byte 0xFF between them, which no UTF-8 text contains.
fuzz_target!(|bytes: &[u8]| {
    let at = bytes.iter().position(|&byte| byte == 0xFF).unwrap_or(bytes.len());
    let (reference, candidate) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    for metric in [Metric::Accuracy, Metric::Loss] {
        match Figure::from_csv(metric, reference) {
            // The PNG draws the same shapes, slowly.
            Ok(figure) => assert!(figure.to_svg().unwrap().ends_with("</svg>\n")),
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
        }
    }
    let report = compare_contents(Path::new("metrics.csv"), reference, candidate).unwrap();
    assert!(report.verdict() != Verdict::Identical || reference == candidate, "{report}");
    assert!(report.to_string().chars().all(|character| character == '\n' || !character.is_control()));
});

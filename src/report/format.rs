//! Numbers and charts as pages show them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Width and height of a page's charts, in pixels.
pub const CHART: (usize, usize) = (480, 360);

/// An SVG of [`crate::chart`], and what it shows in words.
pub struct Chart {
    pub svg: String,
    pub caption: String,
}

impl Chart {
    /// Of an SVG file's text, as it stands in HTML: a screen reader reads it out as the caption.
    pub fn new(svg: &str, caption: String) -> Self {
        let labelled = format!("<svg role=\"img\" aria-label=\"{}\" ", escaped(&caption));
        Self { svg: svg.replacen("<svg ", &labelled, 1), caption }
    }

    /// Of an SVG file that may be from elsewhere: as a picture, in which no script runs.
    pub fn of_file(svg: &[u8], caption: String) -> Self {
        let source = STANDARD.encode(svg);
        let image = format!("<img src=\"data:image/svg+xml;base64,{source}\" alt=\"{}\">", escaped(&caption));
        Self { svg: image, caption }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

/// 97.25 % rather than 0.9725.
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// 10,000 rather than 10000.
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

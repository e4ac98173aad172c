//! matplotlib's colors.

use plotters::style::RGBColor;

/// The most runs in a figure, one for each color.
pub(super) const MAX_RUNS: usize = 10;
/// The color cycle `tab10`.
pub(super) const TAB10: [RGBColor; MAX_RUNS] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(127, 127, 127),
    RGBColor(188, 189, 34),
    RGBColor(23, 190, 207),
];

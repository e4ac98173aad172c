//! How Python writes a number: in metrics.csv, in the test table, in what the program says.

/// `repr(float(value))`, of an f32 after it was widened: the shortest digits that read back as the same f64, in exponent form below 1e-4 and
/// from 1e16 on.
pub fn repr(value: impl Into<f64>) -> String {
    let value = value.into();
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    // Rust gives as few digits as Python does, but where two such numbers are equally near, not always Python's, the
    // even one. Asked for that many digits it rounds as Python does.
    let shortest = format!("{value:e}");
    let decimals =
        shortest.split('e').next().unwrap_or_default().chars().filter(char::is_ascii_digit).count() - 1;
    let scientific = format!("{value:.decimals$e}");
    let (digits, exponent) = scientific.split_once('e').expect("Rust's exponent form has an e");
    let exponent: i32 = exponent.parse().expect("Rust's exponent is a number");
    if (-4..16).contains(&exponent) {
        let decimals = (decimals as i32 - exponent).max(1) as usize;
        return format!("{value:.decimals$}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A metric for people to read, as Python's `f"{value:.4f}"`, or `f"{value:.3e}"` of one that would have many digits: a
/// loss that grows beyond all bounds would have 30 and more.
pub fn short(value: f32) -> String {
    if !value.is_finite() {
        return repr(value);
    }
    if value.abs() < 1e6 {
        return format!("{value:.4}");
    }
    let scientific = format!("{value:.3e}");
    let (digits, exponent) = scientific.split_once('e').expect("Rust's exponent form has an e");
    format!("{digits}e+{exponent:0>2}")
}

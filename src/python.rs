//! How Python prints: what the program's output and metrics.csv share with the notebook's.

/// `repr(float(value))`: the shortest digits that read back as the same f64, in exponent form below 1e-4 and
/// from 1e16 on.
pub fn repr(value: f32) -> String {
    let value = f64::from(value);
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

/// `torch.Size`, as it prints.
pub fn torch_size(size: &[i64]) -> String {
    format!("torch.Size({size:?})")
}

/// A tensor of one-digit integers, as `print(tensor)` shows it: more than 1000 are abridged to the first
/// three and the last three, fewer are wrapped at 80 columns (`torch/_tensor_str.py`).
pub fn tensor_of_digits(values: &[i64]) -> String {
    const LINE_WIDTH: usize = 80;
    const INDENT: usize = "tensor([".len();
    let join = |values: &[i64]| values.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let body = if values.len() > 1000 {
        format!("{},  ..., {}", join(&values[..3]), join(&values[values.len() - 3..]))
    } else {
        // Each element counts as its width and two characters.
        let per_line = (LINE_WIDTH - INDENT) / 3;
        let lines: Vec<_> = values.chunks(per_line).map(join).collect();
        lines.join(&format!(",\n{}", " ".repeat(INDENT)))
    };
    format!("tensor([{body}])")
}

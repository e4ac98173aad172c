//! How PyTorch prints what the notebook's cells show.

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

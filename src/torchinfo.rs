//! `torchinfo.summary(model, input_data, col_names=['input_size', 'output_size', 'num_params'])`: the table
//! of a model's layers, as torchinfo 1.8.0 prints it.

use std::fmt::{self, Display, Formatter};

use crate::torch::Error;
use crate::torch::nn::{Layer, LayerInfo};

const NAME_WIDTH: usize = 40;
const COLUMN_WIDTH: usize = 25;
const BYTES_PER_VALUE: i64 = 4;

/// A model's layers with their input and output shapes. Displays as torchinfo's table, without a final line end.
///
/// ```
/// use islp_mnist::{notebook::models::mnist_mlr, torch::Generator, torchinfo::summary};
/// use tch::{Device, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let summary = summary(&mnist_mlr(&vs.root(), &Generator::new(0))?, &[256, 1, 28, 28])?;
/// assert_eq!(summary.total_params(), 7850);
/// assert!(summary.to_string().contains("Linear"));
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Summary {
    input_size: Vec<i64>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    class_name: &'static str,
    depth: usize,
    /// The layer's number among those of its depth, from 1.
    depth_index: usize,
    input_size: Vec<i64>,
    output_size: Vec<i64>,
    num_params: i64,
}

/// Summarizes `model` for an input of the given shape, batch first, without running it.
///
/// # Errors
/// Fails if the model does not take the shape.
pub fn summary(model: &dyn Layer, input_size: &[i64]) -> Result<Summary, Error> {
    // Below this limit no size or sum overflows an i64.
    let values = input_size.iter().try_fold(1i64, |product, &length| product.checked_mul(length));
    if input_size.is_empty() || !values.is_some_and(|values| (0..1 << 40).contains(&values)) {
        return Err(Error::InputSize(input_size.to_vec()));
    }
    let mut rows = vec![];
    add_rows(&mut rows, &model.info(), 0, input_size)?;
    Ok(Summary { input_size: input_size.to_vec(), rows })
}

/// Adds the rows of a layer and the layers inside it, and returns the output shape.
fn add_rows(
    rows: &mut Vec<Row>,
    info: &LayerInfo,
    depth: usize,
    input_size: &[i64],
) -> Result<Vec<i64>, Error> {
    let output_size = info.output_size(input_size)?;
    rows.push(Row {
        class_name: info.class_name,
        depth,
        depth_index: 1 + rows.iter().filter(|row| row.depth == depth).count(),
        input_size: input_size.to_vec(),
        output_size: output_size.clone(),
        num_params: info.parameters.iter().map(|size| numel(size)).sum(),
    });
    let mut size = input_size.to_vec();
    for child in &info.children {
        size = add_rows(rows, child, depth + 1, &size)?;
    }
    Ok(output_size)
}

impl Summary {
    /// The number of parameters, all of them trainable.
    pub fn total_params(&self) -> i64 {
        self.rows.iter().map(|row| row.num_params).sum()
    }

    /// Counts a layer's parameters once for each image of the batch.
    fn total_mult_adds(&self) -> i64 {
        self.rows.iter().map(|row| row.output_size[0] * row.num_params).sum()
    }

    /// The size of the outputs of layers with parameters, twice because of the gradients.
    fn forward_backward_bytes(&self) -> i64 {
        let with_params = self.rows.iter().filter(|row| row.num_params > 0);
        with_params.map(|row| 2 * BYTES_PER_VALUE * numel(&row.output_size)).sum()
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let divider = "=".repeat(NAME_WIDTH + 3 * COLUMN_WIDTH);
        let row = |f: &mut Formatter, name: &str, columns: [&str; 3]| {
            let mut line = format!("{name:<NAME_WIDTH$} ");
            for column in columns {
                line += &format!("{column:<COLUMN_WIDTH$} ");
            }
            writeln!(f, "{}", line.trim_end())
        };
        writeln!(f, "{divider}")?;
        row(f, "Layer (type:depth-idx)", ["Input Shape", "Output Shape", "Param #"])?;
        writeln!(f, "{divider}")?;
        for layer in &self.rows {
            let name = match layer.depth {
                0 => layer.class_name.to_string(),
                depth => {
                    let start =
                        if depth == 1 { "├─".into() } else { "│    ".repeat(depth - 1) + "└─" };
                    format!("{start}{}: {depth}-{}", layer.class_name, layer.depth_index)
                }
            };
            let params =
                if layer.num_params == 0 { "--".into() } else { thousands(&layer.num_params.to_string()) };
            let sizes = [&layer.input_size, &layer.output_size].map(|size| format!("{size:?}"));
            row(f, &name, [&sizes[0], &sizes[1], &params])?;
        }
        let params = self.total_params();
        let params_text = thousands(&params.to_string());
        let input_bytes = BYTES_PER_VALUE * numel(&self.input_size);
        let forward_backward_bytes = self.forward_backward_bytes();
        let params_bytes = BYTES_PER_VALUE * params;
        let total_bytes = input_bytes + forward_backward_bytes + params_bytes;
        let megabytes = |bytes: i64| format!("{:.2}", bytes as f64 / 1e6);
        writeln!(f, "{divider}")?;
        writeln!(f, "Total params: {}", params_text)?;
        writeln!(f, "Trainable params: {}", params_text)?;
        writeln!(f, "Non-trainable params: 0")?;
        writeln!(f, "Total mult-adds {}", mult_adds(self.total_mult_adds()))?;
        writeln!(f, "{divider}")?;
        writeln!(f, "Input size (MB): {}", megabytes(input_bytes))?;
        writeln!(f, "Forward/backward pass size (MB): {}", megabytes(forward_backward_bytes))?;
        writeln!(f, "Params size (MB): {}", megabytes(params_bytes))?;
        writeln!(f, "Estimated Total Size (MB): {}", megabytes(total_bytes))?;
        write!(f, "{divider}")
    }
}

fn numel(size: &[i64]) -> i64 {
    size.iter().product()
}

/// `ModelStatistics.format_output_num`: in the largest fitting unit, without decimals if they are 0.
fn mult_adds(count: i64) -> String {
    let (unit, size) = match count {
        1_000_000_000_000.. => ("TERABYTES", 1e12),
        1_000_000_000.. => ("GIGABYTES", 1e9),
        _ => ("MEGABYTES", 1e6),
    };
    let value = count as f64 / size;
    // Grouping follows rounding, which can add a digit: 999.996 prints as 1,000.00.
    let printed = if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") };
    let (whole, decimals) = printed.split_at(printed.find('.').unwrap_or(printed.len()));
    format!("(Units.{unit}): {}{decimals}", thousands(whole))
}

/// Inserts commas between the thousands, like `f"{value:,}"`.
fn thousands(digits: &str) -> String {
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

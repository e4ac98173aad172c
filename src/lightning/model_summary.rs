//! The lines that Lightning prints before and after a training: devices, the module's parameters, why it stopped.

use std::time::Duration;

use tch::Device;

use crate::torch::nn::LayerInfo;

/// The lines that a new Trainer prints.
pub fn devices(device: Device) -> String {
    let gpu = match device {
        Device::Cpu => "False, used: False",
        Device::Mps => "True (mps), used: True",
        _ => "True (cuda), used: True",
    };
    format!("GPU available: {gpu}\nTPU available: False, using: 0 TPU cores")
}

/// The lines at the start of `fit`: `ModelSummary` of a module with a model and a loss.
pub fn parameters(model: &LayerInfo) -> String {
    let params = model.num_params();
    let count = human_readable(params);
    let line = |cells: [&str; 6]| {
        let [index, name, class, params, mode, flops] = cells;
        format!("{index} | {name:<5} | {class:<16} | {params:<6} | {mode:<5} | {flops:<5}")
    };
    let header = line([" ", "Name", "Type", "Params", "Mode", "FLOPs"]);
    // Lightning also counts the spaces around the columns.
    let rule = "-".repeat(header.len() + 6);
    let rows = [
        ["0", "model", model.class_name, &count, "train", "0"],
        ["1", "loss", "CrossEntropyLoss", "0", "train", "0"],
    ]
    .map(line)
    .join("\n");
    // The loss is a module too.
    let modules = model.num_modules() + 1;
    let megabytes = params as f64 * 4.0 / 1e6;
    format!(
        "\n{header}\n{rule}\n{rows}\n{rule}\n\
         {count:<9} Trainable params\n\
         0         Non-trainable params\n\
         {count:<9} Total params\n\
         {megabytes:<9.3} Total estimated model params size (MB)\n\
         {modules:<9} Modules in train mode\n\
         0         Modules in eval mode\n\
         0         Total Flops"
    )
}

/// The line at the end of `fit`.
pub fn stopped(max_epochs: usize) -> String {
    format!("`Trainer.fit` stopped: `max_epochs={max_epochs}` reached.")
}

/// The line at the end of a `fit` that `max_time` has ended.
pub fn out_of_time(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "Time limit reached. Elapsed time is {hours}:{minutes:02}:{seconds:02}. Signaling Trainer to stop."
    )
}

/// `get_human_readable_count`: 7,850 as 7.9 K, 235,146 as 235 K. Like Lightning, it multiplies: 7850 / 1000 would round
/// down to 7.8.
fn human_readable(count: i64) -> String {
    let (unit, factor) = match count {
        0..1_000 => return count.to_string(),
        1_000..1_000_000 => ("K", 1e-3),
        _ => ("M", 1e-6),
    };
    let value = count as f64 * factor;
    if value >= 100.0 { format!("{} {unit}", value as i64) } else { format!("{value:.1} {unit}") }
}

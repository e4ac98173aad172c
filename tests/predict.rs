//! `predict`: a digit from a picture or from the test images. How pictures are read is tests/digit.rs's.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{checkout, data_dir, error_of, islp_mnist, stdout_of};
use image::{GrayImage, Luma, imageops};
use serde_json::{Value, json};
use tch::Tensor;
use tempfile::{TempDir, tempdir};

fn predict(folder: &Path, options: &[&str]) -> Command {
    let mut command = islp_mnist();
    command.current_dir(folder).arg("predict").args(options).arg("--data-dir").arg(data_dir());
    command.arg("--checkpoint").arg(checkout().join("output/MNIST/version_0"));
    command
}

/// The picture that `--show` prints below the first line, as dark on light and three times as large.
fn picture(shown: &str) -> GrayImage {
    let levels = " .:-=+*#%@";
    let mut image = GrayImage::from_pixel(28, 28, Luma([255]));
    for (y, line) in shown.lines().skip(1).enumerate() {
        for (x, character) in line.chars().step_by(2).enumerate() {
            let level = levels.find(character).expect("a level of grey") as u8;
            image.put_pixel(x as u32, y as u32, Luma([255 - 28 * level]));
        }
    }
    imageops::resize(&image, 84, 84, imageops::FilterType::Triangle)
}

#[test]
fn what_is_shown_of_a_test_image_is_read_as_the_same_digit_from_a_file() {
    let folder = tempdir().unwrap();
    let mut names = vec![];
    // The first ten test images are a 7, 2, 1, 0, 4, 1, 4, 9, 5 and 9; the model gets the ninth wrong.
    for (index, digit) in [7, 2, 1].into_iter().enumerate() {
        let shown = stdout_of(&mut predict(folder.path(), &["--show", "--index", &index.to_string()]));
        assert_eq!(shown.lines().count(), 29, "{shown}");
        assert!(shown.starts_with(&format!("test image {index}, a {digit}: {digit}   ({digit} ")), "{shown}");
        names.push(format!("{index} of ten, ä.png"));
        picture(&shown).save(folder.path().join(&names[index])).unwrap();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = stdout_of(&mut predict(folder.path(), &names));
    let digits: Vec<_> =
        text.lines().map(|line| line.split_once(": ").unwrap().1.split(' ').next().unwrap()).collect();
    assert_eq!(digits.join(""), "721", "{text}");

    let json = stdout_of(&mut predict(folder.path(), &[&names[..], &["--json"]].concat()));
    let json: Value = serde_json::from_str(&json).unwrap();
    for ((prediction, name), line) in json.as_array().unwrap().iter().zip(&names).zip(text.lines()) {
        let probabilities: Vec<f64> =
            prediction["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
        assert_eq!(probabilities.len(), 10);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{prediction}");
        let mut best: Vec<usize> = (0..10).collect();
        best.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let of_best: Vec<_> =
            best[..3].iter().map(|&digit| format!("{digit} {:.4}", probabilities[digit])).collect();
        assert_eq!(line, format!("{name}: {}   ({})", prediction["digit"], of_best.join(", ")));
    }
}

#[test]
fn the_four_that_the_readme_shows_is_read_as_one_by_both_models() {
    for run in ["output/MNIST/version_0", "output/MNIST_MLR/version_0"] {
        let mut command = islp_mnist();
        command.current_dir(checkout()).args(["predict", "--json", "docs/four.png", "--checkpoint", run]);
        let json: Value = serde_json::from_str(&stdout_of(&mut command)).unwrap();
        assert_eq!(json[0]["digit"], 4, "{json}");
        assert!(json[0]["probabilities"][4].as_f64().unwrap() > 0.9, "{json}");
    }
}

/// A folder with a picture of a four and files that are none.
fn pictures() -> TempDir {
    let folder = tempdir().unwrap();
    fs::copy(checkout().join("docs/four.png"), folder.path().join("four.png")).unwrap();
    GrayImage::new(30, 20).save(folder.path().join("blank.png")).unwrap();
    fs::write(folder.path().join("two\nlines.png"), "no picture").unwrap();
    fs::create_dir(folder.path().join("folder.png")).unwrap();
    folder
}

#[test]
fn a_picture_that_cannot_be_read_is_an_error_line_and_the_others_are_read() {
    let folder = pictures();
    let pictures =
        ["four.png", "blank.png", "four.png", "two\nlines.png", "folder.png", "missing.png", "four.png"];
    let command = predict(folder.path(), &pictures);
    // Both streams into one pipe, for their order.
    let mut both = Command::new("sh");
    both.current_dir(folder.path()).args(["-c", "exec \"$0\" \"$@\" 2>&1"]);
    let output = both.arg(command.get_program()).args(command.get_args()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let four = "four.png: 4   (4 1.0000, 9 0.0000, 7 0.0000)";
    assert_eq!(lines[0], four);
    assert_eq!(
        lines[1],
        "error: blank.png: shows no digit, or too faint a one; take a picture with more contrast"
    );
    assert_eq!(lines[2], four);
    assert_eq!(lines[3], r"error: two\nlines.png: neither PNG nor JPEG; convert it to one of them");
    assert_eq!(lines[4], "error: folder.png: not a regular file; name a PNG or JPEG picture of a digit");
    // The system's reason is in between.
    assert!(lines[5].starts_with("error: cannot read missing.png: "), "{text}");
    assert!(lines[5].ends_with("; name a PNG or JPEG picture of a digit"), "{text}");
    assert_eq!(lines[6..], [four]);
}

#[test]
fn json_has_an_error_in_the_place_of_a_picture_that_cannot_be_read() {
    let folder = pictures();
    let mut command = predict(folder.path(), &["--json", "blank.png", "four.png"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = "blank.png: shows no digit, or too faint a one; take a picture with more contrast";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("error: {error}\n"));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2, "{json}");
    assert_eq!(json[0], json!({ "image": "blank.png", "error": error }));
    assert_eq!((&json[1]["image"], &json[1]["digit"]), (&json!("four.png"), &json!(4)));

    let help = stdout_of(islp_mnist().args(["predict", "--help"]));
    let (_, help) = help.split_once("--json").unwrap();
    for field in ["image", "digit", "probabilities", "error"] {
        assert!(help.contains(field), "{field} is not in the help:\n{help}");
    }
}

#[test]
fn a_model_whose_outputs_are_not_finite_gives_an_error_that_names_it() {
    let folder = pictures();
    let file = checkout().join("output/MNIST_MLR/version_0/model.safetensors");
    // The weights are finite, as they must be, but what comes of them is not: for one digit, or for all ten.
    for digits in [1, 10] {
        let weights = common::tensors(&file);
        let weight = weights.values().find(|tensor| tensor.dim() == 2).unwrap();
        let _ = weight.narrow(0, 0, digits).fill_(-3e38);
        Tensor::write_safetensors(&Vec::from_iter(weights), folder.path().join("large.safetensors")).unwrap();
        let mut command = islp_mnist();
        command.current_dir(folder.path()).args(["predict", "four.png", "--checkpoint", "large.safetensors"]);
        let error = error_of(&mut command, 1);
        assert!(error.starts_with("error: four.png: ") && error.contains("large.safetensors"), "{error}");
    }
}

#[test]
fn wrong_options_are_one_line_that_names_them() {
    let folder = tempdir().unwrap();
    let refused = |options: &[&str]| error_of(&mut predict(folder.path(), options), 2);
    assert_eq!(
        refused(&["--index", "10000"]),
        "error: --index 10000: there are 10000 test images, 0 to 9999"
    );
    assert!(refused(&[]).contains("<IMAGE>"));
}

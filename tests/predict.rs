//! `predict`: a digit from a picture or from the test images. How pictures are read is tests/digit.rs's.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{checkout, data_dir, error_of, islp_mnist, stdout_of};
use image::{GrayImage, Luma, imageops};
use serde_json::Value;
use tempfile::tempdir;

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
    for (index, digit) in [7, 2, 1, 0, 4, 1, 4, 9].into_iter().enumerate() {
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
    assert_eq!(digits.join(""), "72104149", "{text}");

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
fn what_cannot_be_read_is_one_line_that_names_it() {
    let folder = tempdir().unwrap();
    let refused = |options: &[&str], code| error_of(&mut predict(folder.path(), options), code);
    assert_eq!(
        refused(&["--index", "10000"], 2),
        "error: --index 10000: there are 10000 test images, 0 to 9999"
    );
    assert_eq!(
        refused(&[], 2),
        "error: the following required arguments were not provided: <IMAGE>...; try '--help'"
    );
    fs::write(folder.path().join("text.png"), "no picture").unwrap();
    let error = refused(&["text.png"], 1);
    assert!(error.starts_with("error: text.png: "), "{error}");
    assert_eq!(
        refused(&["nowhere.jpg"], 1),
        "error: nowhere.jpg: no such file; name a PNG or JPEG picture of a digit"
    );
}

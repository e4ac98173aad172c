//! `predict`: a digit from a picture or from the test images. How pictures are read is tests/library/digit/'s.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{checkout, data_dir, error_of, islp_mnist, python, stdout_of};
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
        "error: blank.png: shows no digit, or too faint a one; use a picture with more contrast"
    );
    assert_eq!(lines[2], four);
    assert_eq!(
        lines[3],
        r"error: two\nlines.png: neither PNG, JPEG, WebP, GIF, BMP nor TIFF; convert it to one of them"
    );
    let name_one = "; name a picture of a digit: a PNG, JPEG, WebP, GIF, BMP or TIFF";
    assert_eq!(lines[4], format!("error: folder.png: not a regular file{name_one}"));
    // The system's reason is in between.
    assert!(lines[5].starts_with("error: cannot read missing.png: "), "{text}");
    assert!(lines[5].ends_with(name_one), "{text}");
    assert_eq!(lines[6..], [four]);
}

#[test]
fn pictures_of_every_format_are_read_and_half_of_one_is_an_error_line() {
    let folder = pictures();
    let four = image::open(folder.path().join("four.png")).unwrap().into_rgba8();
    for (ending, format) in [("webp", "WebP"), ("gif", "GIF"), ("bmp", "BMP"), ("tiff", "TIFF")] {
        // The ending doesn't matter.
        let (whole, half) = (format!("four.{ending}"), format!("half-{ending}.png"));
        four.save(folder.path().join(&whole)).unwrap();
        let bytes = fs::read(folder.path().join(&whole)).unwrap();
        fs::write(folder.path().join(&half), &bytes[..bytes.len() / 2]).unwrap();
        let line = stdout_of(&mut predict(folder.path(), &[&whole]));
        assert!(line.starts_with(&format!("{whole}: 4 ")) && !line.contains("unsure"), "{line}");
        assert_eq!(
            error_of(&mut predict(folder.path(), &[&half]), 1),
            format!(
                "error: {half}: a {format} that is damaged, cut short or of a rare kind; \
                 save the picture again as a plain PNG or JPEG"
            )
        );
        let help = stdout_of(islp_mnist().args(["predict", "--help"]));
        assert!(help.contains(format), "{help}");
    }
}

#[test]
fn json_has_an_error_in_the_place_of_a_picture_that_cannot_be_read() {
    let folder = pictures();
    let mut command = predict(folder.path(), &["--json", "blank.png", "four.png"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = "blank.png: shows no digit, or too faint a one; use a picture with more contrast";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("error: {error}\n"));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2, "{json}");
    assert_eq!(json[0], json!({ "image": "blank.png", "error": error }));
    assert_eq!((&json[1]["image"], &json[1]["digit"]), (&json!("four.png"), &json!(4)));

    let help = stdout_of(islp_mnist().args(["predict", "--help"]));
    let (_, help) = help.split_once("--json").unwrap();
    for field in ["image", "digit", "probabilities", "warnings", "error"] {
        assert!(help.contains(field), "{field} is not in the help:\n{help}");
    }
}

/// A sheet with these test images on it, side by side, dark on light.
fn sheet(folder: &Path, name: &str, indices: &[&str]) {
    let mut sheet = GrayImage::from_pixel(60 + 120 * indices.len() as u32, 200, Luma([235]));
    for (number, index) in indices.iter().enumerate() {
        let shown = stdout_of(&mut predict(folder, &["--show", "--index", index]));
        let figure = picture(&shown);
        for (x, y, value) in figure.enumerate_pixels().filter(|(_, _, value)| value.0[0] < 235) {
            sheet.put_pixel(60 + 120 * number as u32 + x, 60 + y, *value);
        }
    }
    sheet.save(folder.join(name)).unwrap();
}

#[test]
fn of_several_figures_the_largest_is_read_with_a_warning_or_all_from_left_to_right() {
    let folder = tempdir().unwrap();
    // A 7, a 2 and a 0.
    sheet(folder.path(), "sheet.png", &["0", "1", "3"]);
    let one = stdout_of(&mut predict(folder.path(), &["sheet.png", "--save-digit", "one.png"]));
    let warning = "   unsure: 3 figures in the picture, this is the largest; --all reads each\n";
    assert!(one.lines().count() == 1 && one.ends_with(warning), "{one}");
    assert_eq!(image::open(folder.path().join("one.png")).unwrap().into_luma8().dimensions(), (28, 28));

    let all = ["sheet.png", "--all", "--save-digit", "all.png"];
    let text = stdout_of(&mut predict(folder.path(), &all));
    let digits: Vec<&str> = text.lines().map(|line| &line["sheet.png: ".len()..][..1]).collect();
    assert_eq!(digits.concat(), "720", "{text}");
    assert!(!text.contains("unsure"), "{text}");
    let json = stdout_of(&mut predict(folder.path(), &["sheet.png", "--all", "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    for (object, digit) in json.as_array().unwrap().iter().zip([7, 2, 0]) {
        assert_eq!((&object["digit"], &object["warnings"]), (&json!(digit), &json!([])), "{object}");
    }

    // What the model saw is read as the same once more.
    let seen = image::open(folder.path().join("all.png")).unwrap().into_luma8();
    assert_eq!(seen.dimensions(), (3 * 28, 28));
    for (number, line) in text.lines().enumerate() {
        let name = format!("{number}.png");
        imageops::crop_imm(&seen, 28 * number as u32, 0, 28, 28)
            .to_image()
            .save(folder.path().join(&name))
            .unwrap();
        let again = stdout_of(&mut predict(folder.path(), &[&name]));
        assert_eq!(again.trim_end().strip_prefix(&name), line.strip_prefix("sheet.png"));
    }
}

#[test]
fn what_speaks_against_an_answer_is_said_behind_it() {
    let folder = tempdir().unwrap();
    sheet(folder.path(), "sheet.png", &["0"]);
    let whole = image::open(folder.path().join("sheet.png")).unwrap().into_luma8();
    let save = |name: &str, picture: &GrayImage| picture.save(folder.path().join(name)).unwrap();
    save("cut.png", &imageops::crop_imm(&whole, 0, 0, 180, 120).to_image());
    let mut faint = whole.clone();
    faint.iter_mut().for_each(|value| *value = 235 - (235 - *value) / 8);
    save("faint.png", &faint);
    let small = imageops::resize(&whole, 18, 20, imageops::FilterType::Triangle);
    let mut canvas = GrayImage::from_pixel(60, 60, Luma([235]));
    imageops::replace(&mut canvas, &small, 20, 20);
    save("small.png", &canvas);
    save(
        "grid.png",
        &GrayImage::from_fn(640, 640, |x, y| Luma([if x % 5 == 0 || y % 5 == 0 { 40 } else { 255 }])),
    );
    for (name, warning) in [
        ("cut.png", "the ink touches the border of the picture"),
        ("faint.png", "the ink is faint"),
        ("small.png", "the figure is small"),
        ("grid.png", "the model sees nothing: its first hidden layer is zero everywhere"),
        ("grid.png", "it may as well be a 0"),
    ] {
        let line = stdout_of(&mut predict(folder.path(), &[name]));
        assert!(line.split_once("   unsure: ").is_some_and(|(_, unsure)| unsure.contains(warning)), "{line}");
        let json = stdout_of(&mut predict(folder.path(), &["--json", name]));
        let json: Value = serde_json::from_str(&json).unwrap();
        assert!(json[0]["warnings"].as_array().unwrap().contains(&json!(warning)), "{json}");
    }
}

#[test]
fn a_picture_of_an_impossible_size_is_told_its_size() {
    let folder = tempdir().unwrap();
    GrayImage::new(1, 1).save(folder.path().join("1.png")).unwrap();
    GrayImage::new(9000, 9000).save(folder.path().join("9000.png")).unwrap();
    for (name, message) in [
        ("1.png", "1x1 pixels, too few to show a digit; use a larger one, a few hundred pixels wide"),
        (
            "9000.png",
            "9000x9000 pixels, more than 8192 on a side; use a smaller picture; a few hundred pixels are enough",
        ),
    ] {
        assert_eq!(error_of(&mut predict(folder.path(), &[name]), 1), format!("error: {name}: {message}"));
    }
}

#[test]
fn the_saved_digit_replaces_no_picture_and_no_device() {
    let folder = pictures();
    let before = fs::read(folder.path().join("four.png")).unwrap();
    for (file, reason) in [
        ("./four.png", "is one of the pictures; name another file"),
        ("folder.png", "not a regular file; name a file to write"),
    ] {
        let error = error_of(&mut predict(folder.path(), &["four.png", "--save-digit", file]), 2);
        assert_eq!(error, format!("error: --save-digit {file}: {reason}"));
    }
    assert!(fs::read(folder.path().join("four.png")).unwrap() == before);
}

#[test]
#[ignore = "needs the Python reference"]
fn of_photographs_most_are_read_and_few_are_wrong_without_a_warning() {
    let folder = tempdir().unwrap();
    let pictures = folder.path().join("photographs");
    let script = |options: &[&str]| {
        let mut command = python("scripts/photographs.py");
        stdout_of(command.arg(&pictures).args(options))
    };
    script(&["--kinds", "all", "--per-digit", "1"]);
    let checkpoint = checkout().join("output/MNIST/version_0");
    let program = env!("CARGO_BIN_EXE_islp-mnist");
    let table = script(&["--measure", program, "--checkpoint", checkpoint.to_str().unwrap()]);
    let row = table.lines().find(|line| line.starts_with("| **all** |")).unwrap();
    let count =
        |cell: &str| cell.trim().trim_matches('*').split("**").next().unwrap().parse::<f64>().unwrap();
    let [count, right, right_but_unsure, _, wrong] =
        row.split('|').skip(2).take(5).map(count).collect::<Vec<_>>()[..]
    else {
        panic!("{table}")
    };
    assert_eq!(count, 240.0, "{table}");
    assert!(right + right_but_unsure >= 0.85 * count, "{table}");
    assert!(wrong <= 0.05 * count, "{table}");
}

#[test]
fn a_model_whose_outputs_are_not_finite_gives_an_error_that_names_it() {
    let folder = pictures();
    let file = checkout().join("output/MNIST_MLR/version_0/model.safetensors");
    // The weights are finite, as they must be, but what comes of them is not: for one digit, or for all ten.
    for digits in [1, 10] {
        let weights = crate::common::tensors(&file);
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
    assert!(refused(&[]).contains("<IMAGE|--index <N>>"));
}

//! `predict`: a digit from a picture or from the test images. tests/library/digit/ tests how pictures are read.

use std::fs;
use std::process::Command;

use crate::common::processes::wrapped;
use crate::common::{Lab, assert_refused, checkout, command, data_dir, fashion_mnist, python, stdout_of};
use image::{GrayImage, Luma, imageops};
use serde_json::{Value, json};
use tch::Tensor;

/// `predict` with the reference run and the real test images.
fn predict(lab: &Lab, options: &str) -> Command {
    let mut command = command(lab.path(), &format!("predict {options}"));
    command.arg("--checkpoint").arg(checkout().join("output/MNIST/version_0"));
    command.arg("--data-dir").arg(data_dir());
    command
}

fn stdout(lab: &Lab, options: &str) -> String {
    stdout_of(&mut predict(lab, options))
}

fn json(lab: &Lab, options: &str) -> Value {
    serde_json::from_str(&stdout(lab, &format!("--json {options}"))).unwrap()
}

fn assert_error(lab: &Lab, options: &str, code: i32, error: &str) {
    let mut command = assert_cmd::Command::from_std(predict(lab, options));
    assert_refused(&mut command, code, &[&format!("error: {error}\n")]);
}

fn save(lab: &Lab, name: &str, picture: &GrayImage) {
    picture.save(lab.path().join(name)).unwrap();
}

/// The picture that `--show` prints below the first line, dark on light and three times as large.
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
fn a_test_image_that_is_shown_and_saved_is_read_as_the_same_digit() {
    let lab = Lab::new();
    let mut names = vec![];
    // The first ten test images are a 7, 2, 1, 0, 4, 1, 4, 9, 5 and 9; the model gets the ninth wrong.
    for (index, digit) in [7, 2, 1].into_iter().enumerate() {
        let shown = stdout(&lab, &format!("--show --index {index}"));
        assert_eq!(shown.lines().count(), 29, "{shown}");
        assert!(shown.starts_with(&format!("test image {index}, a {digit}: {digit}   ({digit} ")), "{shown}");
        names.push(format!("{index} of ten, ä.png"));
        save(&lab, &names[index], &picture(&shown));
    }
    let quoted = format!("'{}'", names.join("' '"));
    let text = stdout(&lab, &quoted);
    let digits: Vec<_> =
        text.lines().map(|line| line.split_once(": ").unwrap().1.split(' ').next().unwrap()).collect();
    assert_eq!(digits.join(""), "721", "{text}");

    for ((prediction, name), line) in
        json(&lab, &quoted).as_array().unwrap().iter().zip(&names).zip(text.lines())
    {
        let probabilities: Vec<f64> = serde_json::from_value(prediction["probabilities"].clone()).unwrap();
        assert_eq!(probabilities.len(), 10);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{prediction}");
        let mut best: Vec<usize> = (0..10).collect();
        best.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let best: Vec<_> =
            best[..3].iter().map(|&digit| format!("{digit} {:.4}", probabilities[digit])).collect();
        assert_eq!(line, format!("{name}: {}   ({})", prediction["digit"], best.join(", ")));
    }
}

#[test]
fn both_models_read_the_four_of_the_readme() {
    for run in ["output/MNIST/version_0", "output/MNIST_MLR/version_0"] {
        let line = format!("predict --json docs/four.png --checkpoint {run}");
        let json: Value = serde_json::from_str(&stdout_of(&mut command(checkout(), &line))).unwrap();
        assert_eq!(json[0]["digit"], 4, "{json}");
        assert!(json[0]["probabilities"][4].as_f64().unwrap() > 0.9, "{json}");
    }
}

/// A lab with a picture of a four and files that are none.
fn pictures() -> Lab {
    let lab = Lab::new();
    fs::copy(checkout().join("docs/four.png"), lab.path().join("four.png")).unwrap();
    save(&lab, "blank.png", &GrayImage::new(30, 20));
    lab.write("two\nlines.png", "no picture");
    fs::create_dir(lab.path().join("folder.png")).unwrap();
    lab
}

const BLANK: &str = "blank.png: shows no digit, or too faint a one; use a picture with more contrast";

#[test]
fn a_picture_that_cannot_be_read_is_an_error_line_and_the_others_are_read() {
    let lab = pictures();
    let command =
        predict(&lab, "four.png blank.png four.png 'two\nlines.png' folder.png missing.png four.png");
    // Both streams into one pipe, for their order.
    let output = wrapped("sh -c 'exec \"$0\" \"$@\" 2>&1'", &command).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let four = "four.png: 4   (4 1.0000, 9 0.0000, 7 0.0000)";
    let name_one = "; name a picture of a digit: a PNG, JPEG, WebP, GIF, BMP or TIFF";
    let expected = format!(
        "{four}\nerror: {BLANK}\n{four}\n\
         error: two\\nlines.png: neither PNG, JPEG, WebP, GIF, BMP nor TIFF; convert it to one of them\n\
         error: folder.png: not a regular file{name_one}\nerror: cannot read missing.png: "
    );
    // The system's reason is in between.
    let rest = text.strip_prefix(&expected).unwrap_or_else(|| panic!("{text}"));
    assert!(rest.ends_with(&format!("{name_one}\n{four}\n")) && rest.lines().count() == 2, "{text}");
}

#[test]
fn pictures_of_every_format_are_read_and_half_of_one_is_an_error_line() {
    let lab = pictures();
    let four = image::open(lab.path().join("four.png")).unwrap().into_rgba8();
    let help = lab.stdout("predict --help");
    for (ending, format) in [("webp", "WebP"), ("gif", "GIF"), ("bmp", "BMP"), ("tiff", "TIFF")] {
        // The ending doesn't matter.
        let (whole, half) = (format!("four.{ending}"), format!("half-{ending}.png"));
        four.save(lab.path().join(&whole)).unwrap();
        let bytes = lab.read("", &whole);
        lab.write(&half, &bytes[..bytes.len() / 2]);
        let line = stdout(&lab, &whole);
        assert!(line.starts_with(&format!("{whole}: 4 ")) && !line.contains("unsure"), "{line}");
        let reason = "damaged, cut short or of a rare kind; save the picture again as a plain PNG or JPEG";
        assert_error(&lab, &half, 1, &format!("{half}: a {format} that is {reason}"));
        assert!(help.contains(format), "{help}");
    }
}

#[test]
fn json_has_an_error_in_the_place_of_a_picture_that_cannot_be_read() {
    let lab = pictures();
    let output = predict(&lab, "--json blank.png four.png").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("error: {BLANK}\n"));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2, "{json}");
    assert_eq!(json[0], json!({ "image": "blank.png", "error": BLANK }));
    assert_eq!((&json[1]["image"], &json[1]["digit"]), (&json!("four.png"), &json!(4)));

    let help = lab.stdout("predict --help");
    let (_, help) = help.split_once("--json").unwrap();
    for field in ["image", "digit", "probabilities", "warnings", "error"] {
        assert!(help.contains(field), "{field} is not in the help:\n{help}");
    }
}

/// A sheet with these test images side by side, dark on light.
fn sheet(lab: &Lab, indices: &[u32]) -> GrayImage {
    let mut sheet = GrayImage::from_pixel(60 + 120 * indices.len() as u32, 200, Luma([235]));
    for (number, index) in indices.iter().enumerate() {
        let figure = picture(&stdout(lab, &format!("--show --index {index}")));
        for (x, y, value) in figure.enumerate_pixels().filter(|(_, _, value)| value.0[0] < 235) {
            sheet.put_pixel(60 + 120 * number as u32 + x, 60 + y, *value);
        }
    }
    sheet
}

#[test]
fn the_largest_of_several_figures_is_read_with_a_warning_or_all_from_left_to_right() {
    let lab = Lab::new();
    // A 7, a 2 and a 0.
    save(&lab, "sheet.png", &sheet(&lab, &[0, 1, 3]));
    let open = |name: &str| image::open(lab.path().join(name)).unwrap().into_luma8();
    let one = stdout(&lab, "sheet.png --save-digit one.png");
    let warning = "   unsure: 3 figures in the picture, this is the largest; --all reads each\n";
    assert!(one.lines().count() == 1 && one.ends_with(warning), "{one}");
    assert_eq!(open("one.png").dimensions(), (28, 28));

    let text = stdout(&lab, "sheet.png --all --save-digit all.png");
    let digits: Vec<&str> = text.lines().map(|line| &line["sheet.png: ".len()..][..1]).collect();
    assert_eq!(digits.concat(), "720", "{text}");
    assert!(!text.contains("unsure"), "{text}");
    for (object, digit) in json(&lab, "sheet.png --all").as_array().unwrap().iter().zip([7, 2, 0]) {
        assert_eq!((&object["digit"], &object["warnings"]), (&json!(digit), &json!([])), "{object}");
    }

    // The picture that the model saw is read as the same once more.
    let seen = open("all.png");
    assert_eq!(seen.dimensions(), (3 * 28, 28));
    for (number, line) in text.lines().enumerate() {
        let name = format!("{number}.png");
        save(&lab, &name, &imageops::crop_imm(&seen, 28 * number as u32, 0, 28, 28).to_image());
        let again = stdout(&lab, &name);
        assert_eq!(again.trim_end().strip_prefix(&name), line.strip_prefix("sheet.png"));
    }
}

#[test]
fn a_warning_follows_an_answer_that_may_be_wrong() {
    let lab = Lab::new();
    let whole = sheet(&lab, &[0]);
    let mut faint = whole.clone();
    faint.iter_mut().for_each(|value| *value = 235 - (235 - *value) / 8);
    let mut small = GrayImage::from_pixel(60, 60, Luma([235]));
    imageops::replace(&mut small, &imageops::resize(&whole, 18, 20, imageops::FilterType::Triangle), 20, 20);
    let grid = |x, y| Luma([if x % 5 == 0 || y % 5 == 0 { 40 } else { 255 }]);
    for (name, picture, warnings) in [
        (
            "cut.png",
            imageops::crop_imm(&whole, 0, 0, 180, 120).to_image(),
            &["the ink touches the border of the picture"][..],
        ),
        ("faint.png", faint, &["the ink is faint"]),
        ("small.png", small, &["the figure is small"]),
        (
            "grid.png",
            GrayImage::from_fn(640, 640, grid),
            &["the model sees nothing: its first hidden layer is zero everywhere", "it may as well be a 0"],
        ),
    ] {
        save(&lab, name, &picture);
        let (line, json) = (stdout(&lab, name), json(&lab, name));
        let (_, unsure) = line.split_once("   unsure: ").unwrap_or_else(|| panic!("{line}"));
        for warning in warnings {
            assert!(unsure.contains(warning), "{line}");
            assert!(json[0]["warnings"].as_array().unwrap().contains(&json!(warning)), "{json}");
        }
    }
}

#[test]
fn wrong_options_and_pictures_of_an_impossible_size_are_an_error_that_names_them() {
    let lab = pictures();
    save(&lab, "1.png", &GrayImage::new(1, 1));
    save(&lab, "9000.png", &GrayImage::new(9000, 9000));
    for (options, code, error) in [
        (
            "1.png",
            1,
            "1.png: 1x1 pixels, too few to show a digit; use a larger one, a few hundred pixels wide",
        ),
        (
            "9000.png",
            1,
            "9000.png: 9000x9000 pixels, more than 8192 on a side; use a smaller picture; a few hundred pixels are enough",
        ),
        ("--index 10000", 2, "--index 10000: there are 10000 test images, 0 to 9999"),
        // The saved digit replaces no picture and no device.
        (
            "four.png --save-digit ./four.png",
            2,
            "--save-digit ./four.png: is one of the pictures; name another file",
        ),
        (
            "four.png --save-digit folder.png",
            2,
            "--save-digit folder.png: not a regular file; name a file to write",
        ),
    ] {
        assert_error(&lab, options, code, error);
    }
    assert!(lab.read("", "four.png") == fs::read(checkout().join("docs/four.png")).unwrap());
}

#[test]
#[ignore = "needs the Python reference"]
fn most_photographs_are_read_and_few_are_wrong_without_a_warning() {
    let lab = Lab::new();
    let script = |options: &str| {
        let mut command = python("scripts/photographs.py");
        stdout_of(command.arg(lab.path().join("photographs")).args(options.split(' ')))
    };
    script("--kinds all --per-digit 1");
    let checkpoint = checkout().join("output/MNIST/version_0");
    let program = env!("CARGO_BIN_EXE_islp-mnist");
    let table = script(&format!("--measure {program} --checkpoint {}", checkpoint.display()));
    let row = table.lines().find(|line| line.starts_with("| **all** |")).unwrap();
    let count =
        |cell: &str| cell.trim().trim_matches('*').split("**").next().unwrap().parse::<f64>().unwrap();
    let counts: Vec<_> = row.split('|').skip(2).take(5).map(count).collect();
    let [count, right, right_but_unsure, _, wrong] = counts[..] else { panic!("{table}") };
    assert_eq!(count, 240.0, "{table}");
    assert!(right + right_but_unsure >= 0.85 * count, "{table}");
    assert!(wrong <= 0.05 * count, "{table}");
}

#[test]
fn weights_whose_outputs_are_not_finite_are_refused_by_the_files_name() {
    let lab = pictures();
    let file = checkout().join("output/MNIST_MLR/version_0/model.safetensors");
    let write_weights = |digits: i64, value: f32| {
        let weights = crate::common::tensors(&file);
        let weight = weights.values().find(|tensor| tensor.dim() == 2).unwrap();
        let _ = weight.narrow(0, 0, digits).fill_(f64::from(value));
        Tensor::write_safetensors(&Vec::from_iter(weights), lab.path().join("large.safetensors")).unwrap();
    };
    let checkpoint = "--checkpoint large.safetensors";
    // With the largest weights the sum over an image's pixels is infinite.
    for value in [f32::INFINITY, f32::NAN, f32::MAX] {
        write_weights(10, value);
        let test = format!("test --json {checkpoint} --data-dir {}", fashion_mnist().display());
        lab.assert_refused(&test, 1, &["large.safetensors"]);
    }
    // For one digit, or for all ten.
    for digits in [1, 10] {
        write_weights(digits, -3e38);
        let names = ["error: four.png: ", "large.safetensors"];
        lab.assert_refused(&format!("predict four.png {checkpoint}"), 1, &names);
    }
}

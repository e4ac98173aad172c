//! Options and paths: what no run can be made of is refused by name before anything is done, and any path is one.
//! Which values an option takes is tested beside it, in src/cli/options.rs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::common::{assert_refused, checkout, fashion_mnist, program, small_mnist, write_small_mnist};
use predicates::str::contains;
use tch::Tensor;
use tempfile::{TempDir, tempdir};

/// `train` on 200 images.
fn train(folder: &TempDir, options: &str) -> assert_cmd::Command {
    let mut command = program(folder, &format!("train --model mlr {options} --data-dir"));
    command.arg(fashion_mnist());
    command
}

#[test]
fn a_wrong_option_is_refused_by_name_and_nothing_is_left_behind() {
    let folder = small_mnist();
    for (arguments, names) in [
        ("reproduce --lr NaN", ["--lr", "'NaN'"]),
        ("reproduce --validation 0.001", ["--validation", "0.001"]),
        ("train --no-such 0", ["--no-such", ""]),
        ("train --limit-train-batches 0.1", ["--limit-train-batches", "0.1"]),
        ("train --resume a --from b", ["--resume", "--from"]),
        ("doctor --device gpu", ["--device", "'gpu'"]),
        ("plot a.csv -o a.gif", ["--output", "'a.gif'"]),
        ("test", ["--checkpoint", ""]),
    ] {
        assert_refused(&mut program(&folder, arguments), 2, &names);
    }
    assert_refused(program(&folder, "train --name").arg("two\nlines"), 2, &["--name"]);
    assert_refused(program(&folder, "train --seed").arg(OsStr::from_bytes(b"\xff")), 2, &["UTF-8"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing but data/");
}

#[test]
fn a_misspelt_option_or_command_is_answered_with_what_may_be_meant() {
    for (arguments, meant) in [
        ("train --epoch 3", "'--epochs'"),
        ("reproduce --batchsize 3", "'--batch-size'"),
        ("trian", "'train'"),
    ] {
        assert_refused(&mut program(checkout(), arguments), 2, &["did you mean", meant]);
    }
}

#[test]
fn options_as_large_as_they_may_be_make_a_run() {
    let folder = tempdir().unwrap();
    for options in [
        "--epochs 1 --batch-size 9223372036854775807 --num-workers 18446744073709551615 --seed 18446744073709551615",
        "--epochs 1 --checkpoint-every 9223372036854775807 --limit-train-batches 9223372036854775807 --lr 1e10",
        "--epochs 9223372036854775807 --validation 0.9999999999999999 --max-time 0s",
        "--epochs 1 --max-time 500000000000y",
    ] {
        train(&folder, options).assert().success();
    }
}

#[test]
fn any_path_is_one() {
    let folder = tempdir().unwrap();
    for name in [&b"with spaces and \xff\xfe no UTF-8"[..], b"two\nlines"] {
        let name = OsStr::from_bytes(name);
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        symlink(fashion_mnist().join("MNIST"), path.join("MNIST")).unwrap();
        let run = path.join("MNIST_MLR/version_0");
        let figure = path.join("a b.svg");
        let command = |arguments: &str, paths: &[&OsStr]| {
            program(&folder, arguments).args(paths).assert().success();
        };
        command("train --model mlr --epochs 1 --data-dir", &[name, "--output-dir".as_ref(), name]);
        command("train --epochs 2 --resume", &[run.as_ref(), "--data-dir".as_ref(), name]);
        command("test --checkpoint", &[run.as_ref(), "--data-dir".as_ref(), name]);
        command("plot", &[run.as_ref(), "-o".as_ref(), figure.as_ref()]);
        command("compare", &[run.as_ref(), run.as_ref()]);
        assert!(run.join("metrics.csv").exists() && figure.exists());
    }
}

#[test]
fn a_path_with_what_looks_like_a_line_break_is_named_whole() {
    let folder = tempdir().unwrap();
    let weights = checkout().join("output/MNIST_MLR/version_0");
    let assert_named = |arguments: &str, path: &str, code: i32| {
        let arguments = arguments.replace("PATH", path).replace("WEIGHTS", weights.to_str().unwrap());
        assert_refused(&mut program(&folder, &arguments), code, &[path]);
    };
    for (arguments, code) in [
        ("reproduce --data-dir PATH", 1),
        ("train --resume PATH", 1),
        ("train --from PATH", 1),
        ("test --checkpoint PATH", 1),
        ("predict --checkpoint WEIGHTS PATH", 1),
        ("plot PATH -o a.png", 1),
        ("plot WEIGHTS -o PATH/a.png", 1),
        ("compare PATH PATH", 2),
    ] {
        assert_named(arguments, r"C:\new", code);
    }
    // What is there, but holds something else.
    fs::write(folder.path().join(r"C:\nothing"), "no such thing").unwrap();
    for (arguments, code) in
        [("test --checkpoint PATH", 1), ("plot PATH -o a.png", 1), ("compare PATH PATH", 2)]
    {
        assert_named(arguments, r"C:\nothing", code);
    }
}

#[test]
fn a_tensor_with_what_looks_like_a_line_break_in_its_name_is_named_whole() {
    let folder = tempdir().unwrap();
    let name = r"layer\new\nframe #0";
    let write = |file: &str, value: f32| {
        let tensors = [(name.to_string(), Tensor::from_slice(&[value]))];
        Tensor::write_safetensors(&tensors, folder.path().join(file)).unwrap();
    };
    write("a.safetensors", 1.0);
    write("b.safetensors", 2.0);
    assert_refused(&mut program(&folder, "test --checkpoint a.safetensors"), 1, &["a.safetensors", name]);
    program(&folder, "compare a.safetensors b.safetensors").assert().code(1).stdout(contains(name));
}

/// A folder with `here/`, a working directory without data, and data in `there/`; and `there`'s path.
fn data_elsewhere() -> (TempDir, String) {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("here")).unwrap();
    let there = folder.path().join("there");
    write_small_mnist(&there, 400, 100);
    let there = there.to_str().unwrap().to_string();
    (folder, there)
}

#[test]
fn the_environment_says_where_the_data_are_and_an_option_says_it_louder() {
    let (folder, there) = data_elsewhere();
    let here = folder.path().join("here");
    let weights = checkout().join("output/MNIST_MLR/version_0");
    let weights = weights.to_str().unwrap();
    for arguments in [
        "train --model mlr --epochs 1",
        "reproduce --epochs 1",
        &format!("test --checkpoint {weights}"),
        &format!("predict --index 0 --checkpoint {weights}"),
    ] {
        let run = |data_dir: &str, option: &str| {
            let mut command = program(&here, &format!("{arguments} {option}"));
            command.env("ISLP_MNIST_DATA_DIR", data_dir).assert()
        };
        run(&there, "").success();
        run("nowhere", &format!("--data-dir {there}")).success();
    }
    // These data are not MNIST's, but it says where it looked.
    let mut doctor = program(&here, "doctor --device cpu");
    doctor.env("ISLP_MNIST_DATA_DIR", &there).assert().code(1).stdout(contains(format!("{there}/MNIST/raw")));
    doctor.args(["--data-dir", "nowhere"]).assert().code(1).stdout(contains("nowhere/MNIST/raw"));
}

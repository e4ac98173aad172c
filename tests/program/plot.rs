//! The command `plot`: what it draws, what it calls the runs, and what it refuses.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;

use crate::common::{checkout, error_of, islp_mnist, stdout_of};
use tempfile::{TempDir, tempdir};

/// A folder with two epochs of ten runs in logs/, and the tracked runs in output/.
fn runs() -> TempDir {
    let folder = tempdir().unwrap();
    for i in 0..10 {
        let run = folder.path().join(format!("logs/version_{i}"));
        fs::create_dir_all(&run).unwrap();
        let rows = format!("0,0.{i},\n0,,0.{i}5\n1,0.{i}1,\n1,,0.{i}6\n");
        fs::write(run.join("metrics.csv"), format!("epoch,train_accuracy_epoch,valid_accuracy\n{rows}"))
            .unwrap();
    }
    std::os::unix::fs::symlink(checkout().join("output"), folder.path().join("output")).unwrap();
    folder
}

fn plot(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = islp_mnist();
    command.current_dir(folder).arg("plot").args(arguments);
    command
}

/// The legend of the figure that these arguments give.
fn legend(folder: &TempDir, arguments: &[&str]) -> Vec<String> {
    assert_eq!(stdout_of(plot(folder, arguments).args(["-o", "figure.svg"])), "figure.svg\n");
    let svg = fs::read_to_string(folder.path().join("figure.svg")).unwrap();
    let legend = svg.rsplit("opacity=\"0.8\"").next().unwrap();
    legend
        .split("<text ")
        .skip(1)
        .map(|text| text.split(['>', '<']).nth(1).unwrap().trim().to_owned())
        .collect()
}

/// Training and validation of each run.
fn both(runs: &[&str]) -> Vec<String> {
    runs.iter().flat_map(|run| [format!("{run} Training"), format!("{run} Validation")]).collect()
}

#[test]
fn the_reference_figures_are_what_the_program_draws() {
    let folder = runs();
    for run in ["output/MNIST/version_0", "output/MNIST_MLR/version_0"] {
        for name in ["accuracy.png", "accuracy.svg"] {
            assert_eq!(stdout_of(&mut plot(&folder, &[run, "-o", name])), format!("{name}\n"));
            let [drawn, tracked] = [folder.path().join(name), checkout().join(run).join(name)].map(fs::read);
            assert!(
                drawn.unwrap() == tracked.unwrap(),
                "make it anew: islp-mnist plot {run} -o {run}/{name}"
            );
        }
    }
}

#[test]
fn two_runs_are_the_golden_figure() {
    let folder = runs();
    let two = ["output/MNIST/version_0", "output/MNIST_MLR/version_0/metrics.csv"];
    assert_eq!(legend(&folder, &two), both(&["MNIST/version_0", "MNIST_MLR/version_0"]));
    let drawn = fs::read_to_string(folder.path().join("figure.svg")).unwrap();
    let golden = fs::read_to_string(checkout().join("tests/golden/plot_two_runs.svg")).unwrap();
    assert!(
        drawn == golden,
        "make it anew: islp-mnist plot {} -o tests/golden/plot_two_runs.svg",
        two.join(" ")
    );
}

#[test]
fn ten_runs_have_a_color_each() {
    let folder = runs();
    let names: Vec<String> = (0..10).map(|i| format!("logs/version_{i}")).collect();
    let lines = legend(&folder, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(lines[..3], ["Training", "Validation", "version_0"]);
    assert_eq!(lines.len(), 12);
    let svg = fs::read_to_string(folder.path().join("figure.svg")).unwrap();
    // matplotlib's tab10
    for color in "1F77B4 FF7F0E 2CA02C D62728 9467BD 8C564B E377C2 7F7F7F BCBD22 17BECF".split(' ') {
        let dots = svg.lines().filter(|line| line.starts_with("<circle") && line.contains(color));
        assert_eq!(dots.count(), 2, "{color}");
    }
}

#[test]
fn a_run_is_called_by_what_its_path_has_of_its_own_or_as_told() {
    let folder = runs();
    let two = ["logs/version_0", "./logs/../logs/version_1"];
    assert_eq!(legend(&folder, &two), both(&["version_0", "version_1"]));
    assert_eq!(legend(&folder, &two[..1]), ["Training", "Validation"]);
    assert_eq!(legend(&folder, &[two[0], "--label", "MLP"]), both(&["MLP"]));
    let told = [two[0], two[1], "--label", "a <b> & c", "--label", "a name that is longer than the room"];
    assert_eq!(legend(&folder, &told), both(&["a &lt;b&gt; &amp; c", "a name that is longer…"]));
    fs::copy(folder.path().join("logs/version_0/metrics.csv"), folder.path().join("other.csv")).unwrap();
    assert_eq!(legend(&folder, &["other.csv", "logs/version_3"]), both(&["other.csv", "version_3"]));
}

#[test]
fn the_ending_decides_the_format_and_a_file_that_is_there_is_replaced() {
    let folder = runs();
    for (name, start) in [("a.png", &b"\x89PNG"[..]), ("b.pdf.SVG", b"<svg")] {
        fs::write(folder.path().join(name), "another figure").unwrap();
        stdout_of(&mut plot(&folder, &["logs/version_0", "-o", name]));
        assert!(fs::read(folder.path().join(name)).unwrap().starts_with(start));
    }
}

#[test]
fn a_figure_takes_no_fifos_place() {
    let folder = runs();
    assert!(Command::new("mkfifo").arg(folder.path().join("fifo.png")).status().unwrap().success());
    let error = error_of(&mut plot(&folder, &["logs/version_0", "-o", "fifo.png"]), 1);
    assert_eq!(error, "error: cannot write fifo.png: it is no regular file, name another one");
    assert!(folder.path().join("fifo.png").metadata().unwrap().file_type().is_fifo());
}

#[test]
fn options_that_make_no_figure_have_exit_code_2_and_are_named() {
    let folder = runs();
    let paths: Vec<String> = (0..11).map(|i| format!("{i}.csv")).collect();
    let eleven: Vec<&str> = paths.iter().map(String::as_str).collect();
    let long = "a name that is longer than the room for it";
    let (one, two) = (format!("{long} 1"), format!("{long} 2"));
    let cases: [(&[&str], &str); 20] = [
        (&["no.csv", "--width", "299"], "--width"),
        (&["no.csv", "--height", "2001"], "--height"),
        (&["no.csv", "--set", "test"], "--set"),
        (&["logs/version_0", "--label", "実験"], "--label"),
        (&["logs/version_0", "--label", "ניסוי"], "--label"),
        (&["no.csv", "-o", "a.pdf"], "--output"),
        (&["no.csv", "-o", ".svg"], "--output"),
        (&["no.csv", "--y", ""], "--y"),
        (&["no.csv", "--y", "mae,"], "--y"),
        (&["no.csv", "--y", "mae,rmse,loss"], "3 columns"),
        (&["no.csv", "--y", "mae,mae"], "mae is named twice"),
        (&["logs/version_0", "--y", "損失"], "--y 損失"),
        (&["no.csv", "--label", ""], "--label"),
        (&["no.csv", "--label", " "], "--label"),
        (&["no.csv", "--label", "a\n\nb"], "--label"),
        (&["a.csv", "b.csv", "--label", "a"], "1 --label"),
        (&["a.csv", "--label", "a", "--label", "b"], "2 --label"),
        (&["a/metrics.csv", "b.csv", "./a/metrics.csv"], "./a/metrics.csv"),
        (&["a.csv", "b.csv", "--label", &one, "--label", &two], "--label"),
        (&eleven, "11 runs"),
    ];
    for (arguments, named) in cases {
        let output: &[&str] = if arguments.contains(&"-o") { &[] } else { &["-o", "figure.svg"] };
        let error = error_of(plot(&folder, arguments).args(output), 2);
        assert!(error.contains(named), "{error}");
    }
    assert!(!folder.path().join("figure.svg").exists());
}

#[test]
fn a_file_that_cannot_be_drawn_has_exit_code_1_and_is_named() {
    let folder = runs();
    fs::write(folder.path().join("bad.csv"), "epoch,valid_accuracy\n0,x\n").unwrap();
    let resumed = "epoch,valid_accuracy\n0,0.5\nepoch,valid_accuracy\n1,0.6\n";
    fs::write(folder.path().join("resumed.csv"), resumed).unwrap();
    fs::write(folder.path().join("mae.csv"), "epoch,step,train_mae\n0,1,2\n").unwrap();
    for (path, output, named) in [
        ("no.csv", "figure.svg", "no.csv"),
        (
            "resumed.csv",
            "figure.svg",
            "resumed.csv: line 3: the header comes again, as in the log of a resumed run; split the file there, and plot the \
             parts as two runs",
        ),
        (
            "mae.csv",
            "figure.svg",
            "mae.csv: no column train_accuracy_epoch or valid_accuracy; its columns are epoch, step, train_mae; --y names \
             others",
        ),
        ("logs", "figure.svg", "logs: holds no metrics.csv"),
        ("bad.csv", "figure.svg", "bad.csv: line 2: valid_accuracy"),
        ("logs/version_0", "no/figure.svg", "no/figure.svg"),
    ] {
        let error = error_of(&mut plot(&folder, &[path, "-o", output]), 1);
        assert!(error.contains(named), "{error}");
        assert!(!folder.path().join(output).exists());
    }
}

#[test]
fn a_label_in_greek_cyrillic_or_with_accents_is_shown() {
    let folder = runs();
    for label in ["Δοκιμή", "Опыт", "Prüfung é"] {
        assert_eq!(legend(&folder, &["logs/version_0", "--label", label]), both(&[label]));
    }
}

#[test]
fn a_run_whose_path_the_font_cannot_show_wants_a_label() {
    let folder = runs();
    fs::rename(folder.path().join("logs/version_1"), folder.path().join("logs/実験")).unwrap();
    let two = ["logs/version_0", "logs/実験"];
    let error = error_of(plot(&folder, &two).args(["-o", "figure.svg"]), 2);
    assert!(error.contains("実") && error.contains("--label"), "{error}");
    assert_eq!(legend(&folder, &[two[0], two[1], "--label", "a", "--label", "b"]), both(&["a", "b"]));
}

#[test]
fn columns_of_any_lightning_log_are_drawn_by_their_names() {
    let folder = runs();
    for (name, shift) in [("a", 0.0), ("b", 0.5)] {
        let rows: String =
            (0..3).map(|i| format!("{i},{},NA\n{i},NA,{}\n", 3.0 + shift, 2.0 + shift)).collect();
        let csv = format!("epoch,train_mae_epoch,valid_mae\n{rows}");
        fs::write(folder.path().join(format!("{name}.csv")), csv).unwrap();
    }
    let svg = || fs::read_to_string(folder.path().join("figure.svg")).unwrap();
    let y = ["--y", "train_mae_epoch,valid_mae"];
    assert_eq!(legend(&folder, &["a.csv", y[0], y[1]]), ["Training", "Validation"]);
    assert!(svg().contains("\nmae\n"), "{}", svg());
    assert_eq!(legend(&folder, &["a.csv", "b.csv", y[0], y[1]]), both(&["a.csv", "b.csv"]));
    assert_eq!(legend(&folder, &["a.csv", y[0], y[1], "--set", "validation"]), ["Validation"]);
    assert_eq!(legend(&folder, &["a.csv", "b.csv", "--y", "epoch"]), ["a.csv epoch", "b.csv epoch"]);
    let error = error_of(&mut plot(&folder, &["a.csv", "--y", "valid_mea", "-o", "b.svg"]), 1);
    let columns = "epoch, train_mae_epoch, valid_mae";
    assert_eq!(
        error,
        format!("error: a.csv: no column valid_mea; its columns are {columns}; --y names others")
    );
}

#[test]
fn training_or_validation_can_be_drawn_alone() {
    let folder = runs();
    assert_eq!(legend(&folder, &["logs/version_0", "--set", "validation"]), ["Validation"]);
    assert_eq!(legend(&folder, &["logs/version_0", "--set", "training"]), ["Training"]);
    fs::write(folder.path().join("no_validation.csv"), "epoch,train_loss\n0,1\n").unwrap();
    let arguments = ["no_validation.csv", "--y", "loss", "--set", "validation", "-o", "figure.png"];
    let error = error_of(&mut plot(&folder, &arguments), 1);
    assert!(error.contains("validation") && error.contains("--set"), "{error}");
}

#[test]
fn a_figure_has_the_width_and_height_asked_for() {
    let folder = runs();
    stdout_of(&mut plot(&folder, &["logs/version_0", "--width", "300", "--height", "450", "-o", "a.png"]));
    let png = fs::read(folder.path().join("a.png")).unwrap();
    assert_eq!(png[16..24], [0, 0, 1, 44, 0, 0, 1, 194]);
    stdout_of(&mut plot(&folder, &["logs/version_0", "--width", "300", "--height", "450", "-o", "a.svg"]));
    let svg = fs::read_to_string(folder.path().join("a.svg")).unwrap();
    assert!(svg.starts_with(r#"<svg width="300" height="450" viewBox="0 0 1500 2250""#), "{svg}");
}

#[test]
fn a_log_axis_shows_what_is_above_0() {
    let folder = runs();
    let rows: String = (0..5).map(|i| format!("{i},{}\n", 10f64.powi(-i))).collect();
    fs::write(folder.path().join("log.csv"), format!("epoch,train_loss\n5,0\n{rows}")).unwrap();
    stdout_of(&mut plot(&folder, &["log.csv", "--y", "loss", "--logy", "-o", "a.svg"]));
    let svg = fs::read_to_string(folder.path().join("a.svg")).unwrap();
    for label in ["10⁰", "10⁻¹", "10⁻²", "10⁻³", "10⁻⁴"] {
        assert!(svg.contains(&format!("\n{label}\n")), "no {label}");
    }
    assert_eq!(svg.matches("<circle").count(), 5 + 1, "all but the 0, and the legend's");
    fs::write(folder.path().join("zero.csv"), "epoch,train_loss\n0,0\n1,-1\n").unwrap();
    let error = error_of(&mut plot(&folder, &["zero.csv", "--y", "loss", "--logy", "-o", "b.svg"]), 1);
    assert!(error.contains("above 0"), "{error}");
}

#[test]
fn many_epochs_are_lines_in_a_file_that_stays_small() {
    let folder = runs();
    let rows: String = (0..20_000).map(|i| format!("{i},0.{},\n{i},,0.{}\n", i % 7 + 1, i % 5 + 2)).collect();
    fs::write(folder.path().join("many.csv"), format!("epoch,train_loss,valid_loss\n{rows}")).unwrap();
    assert_eq!(legend(&folder, &["many.csv", "--y", "loss"]), ["Training", "Validation"]);
    let svg = fs::read_to_string(folder.path().join("figure.svg")).unwrap();
    assert_eq!(svg.matches("<circle").count(), 0);
    assert!(svg.len() < 400_000, "{} bytes", svg.len());
}

#[test]
fn help_has_an_example_that_works() {
    let help = stdout_of(islp_mnist().args(["plot", "--help"]));
    let example = help.lines().find_map(|line| line.strip_prefix("Example: islp-mnist plot ")).unwrap();
    let folder = runs();
    assert_eq!(stdout_of(&mut plot(&folder, &example.split(' ').collect::<Vec<_>>())), "loss.png\n");
    assert!(Path::new(folder.path()).join("loss.png").exists());
}

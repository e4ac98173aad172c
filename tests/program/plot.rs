//! `plot`: its figures, the names of the runs in them, and the arguments and files that it refuses.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};

use crate::common::{Lab, checkout, processes};

/// A lab with two epochs of ten runs in logs/, and the tracked runs in output/.
fn runs() -> Lab {
    let lab = Lab::new();
    for i in 0..10 {
        let rows = format!("0,0.{i},\n0,,0.{i}5\n1,0.{i}1,\n1,,0.{i}6\n");
        let csv = format!("epoch,train_accuracy_epoch,valid_accuracy\n{rows}");
        lab.write(&format!("logs/version_{i}/metrics.csv"), csv);
    }
    symlink(checkout().join("output"), lab.path().join("output")).unwrap();
    lab
}

/// Draws a figure; the command prints its name alone.
fn plot(lab: &Lab, arguments: &str, figure: &str) {
    assert_eq!(lab.stdout(&format!("plot {arguments} -o {figure}")), format!("{figure}\n"));
}

fn svg(lab: &Lab, arguments: &str) -> String {
    plot(lab, arguments, "figure.svg");
    lab.text("figure.svg")
}

fn legend(lab: &Lab, arguments: &str) -> Vec<String> {
    let svg = svg(lab, arguments);
    let texts = svg.rsplit("opacity=\"0.8\"").next().unwrap().split("<text ").skip(1);
    texts.map(|text| text.split(['>', '<']).nth(1).unwrap().trim().to_owned()).collect()
}

/// Training and validation of each run.
fn both(runs: &[&str]) -> Vec<String> {
    runs.iter().flat_map(|run| [format!("{run} Training"), format!("{run} Validation")]).collect()
}

#[test]
fn the_reference_figures_are_those_that_the_program_draws() {
    let lab = runs();
    for run in ["output/MNIST/version_0", "output/MNIST_MLR/version_0"] {
        for name in ["accuracy.png", "accuracy.svg"] {
            plot(&lab, run, name);
            let is_same = lab.read("", name) == lab.read(run, name);
            assert!(is_same, "make it anew: islp-mnist plot {run} -o {run}/{name}");
        }
    }
}

#[test]
fn two_runs_are_the_golden_figure() {
    let lab = runs();
    let two = "output/MNIST/version_0 output/MNIST_MLR/version_0/metrics.csv";
    assert_eq!(legend(&lab, two), both(&["MNIST/version_0", "MNIST_MLR/version_0"]));
    let golden = "tests/golden/plot_two_runs.svg";
    let is_same = lab.text("figure.svg") == fs::read_to_string(checkout().join(golden)).unwrap();
    assert!(is_same, "make it anew: islp-mnist plot {two} -o {golden}");
}

#[test]
fn ten_runs_have_a_color_each() {
    let lab = runs();
    let paths: Vec<String> = (0..10).map(|i| format!("logs/version_{i}")).collect();
    let lines = legend(&lab, &paths.join(" "));
    assert_eq!(lines[..3], ["Training", "Validation", "version_0"]);
    assert_eq!(lines.len(), 12);
    let svg = lab.text("figure.svg");
    // matplotlib's tab10
    for color in "1F77B4 FF7F0E 2CA02C D62728 9467BD 8C564B E377C2 7F7F7F BCBD22 17BECF".split(' ') {
        let dots = svg.lines().filter(|line| line.starts_with("<circle") && line.contains(color));
        assert_eq!(dots.count(), 2, "{color}");
    }
}

#[test]
fn a_run_is_called_by_the_part_of_its_path_that_differs_or_by_its_label() {
    let lab = runs();
    let (one, two) = ("logs/version_0", "logs/version_0 ./logs/../logs/version_1");
    assert_eq!(legend(&lab, two), both(&["version_0", "version_1"]));
    assert_eq!(legend(&lab, one), ["Training", "Validation"]);
    let labels = "--label 'a <b> & c' --label 'a name that is longer than the room'";
    let shown = both(&["a &lt;b&gt; &amp; c", "a name that is longer…"]);
    assert_eq!(legend(&lab, &format!("{two} {labels}")), shown);
    lab.write("other.csv", lab.read("logs/version_0", "metrics.csv"));
    assert_eq!(legend(&lab, "other.csv logs/version_3"), both(&["other.csv", "version_3"]));
    for label in ["MLP", "Δοκιμή", "Опыт", "Prüfung é"] {
        assert_eq!(legend(&lab, &format!("{one} --label '{label}'")), both(&[label]));
    }
    // A path that the font can't show needs a label.
    fs::rename(lab.path().join("logs/version_1"), lab.path().join("logs/実験")).unwrap();
    let two = "logs/version_0 logs/実験";
    lab.assert_refused(&format!("plot {two} -o figure.svg"), 2, &["実", "--label"]);
    assert_eq!(legend(&lab, &format!("{two} --label a --label b")), both(&["a", "b"]));
}

#[test]
fn the_ending_decides_the_format_and_an_existing_file_is_replaced_but_no_fifo() {
    let lab = runs();
    for (name, start) in [("a.png", &b"\x89PNG"[..]), ("b.pdf.SVG", b"<svg")] {
        lab.write(name, "another figure");
        plot(&lab, "logs/version_0", name);
        assert!(lab.read("", name).starts_with(start));
    }
    let fifo = lab.path().join("fifo.png");
    processes::run("mkfifo", &[fifo.to_str().unwrap()]);
    let error = "error: cannot write fifo.png: not a regular file; name another one\n";
    lab.assert_refused("plot logs/version_0 -o fifo.png", 1, &[error]);
    assert!(fifo.metadata().unwrap().file_type().is_fifo());
}

#[test]
fn arguments_that_make_no_figure_have_exit_code_2_and_are_named() {
    let lab = runs();
    let eleven = (0..11).map(|i| format!("{i}.csv")).collect::<Vec<_>>().join(" ");
    let long = "a name that is longer than the room for it";
    let alike = format!("a.csv b.csv --label '{long} 1' --label '{long} 2'");
    for (arguments, named) in [
        ("no.csv --width 299", "--width"),
        ("no.csv --height 2001", "--height"),
        ("no.csv --set test", "--set"),
        ("logs/version_0 --label 実験", "--label"),
        ("logs/version_0 --label ניסוי", "--label"),
        ("no.csv -o a.pdf", "--output"),
        ("no.csv -o .svg", "--output"),
        ("no.csv --y ''", "--y"),
        ("no.csv --y mae,", "--y"),
        ("no.csv --y mae,rmse,loss", "3 columns"),
        ("no.csv --y mae,mae", "mae is named twice"),
        ("logs/version_0 --y 損失", "--y 損失"),
        ("no.csv --label ''", "--label"),
        ("no.csv --label ' '", "--label"),
        ("no.csv --label 'a\n\nb'", "--label"),
        ("a.csv b.csv --label a", "1 --label"),
        ("a.csv --label a --label b", "2 --label"),
        ("a/metrics.csv b.csv ./a/metrics.csv", "./a/metrics.csv"),
        (&alike, "--label"),
        (&eleven, "11 runs"),
    ] {
        let output = if arguments.contains("-o ") { "" } else { "-o figure.svg" };
        lab.assert_refused(&format!("plot {arguments} {output}"), 2, &[named]);
    }
    assert!(!lab.exists("figure.svg"));
}

#[test]
fn a_file_that_cannot_be_drawn_has_exit_code_1_and_is_named() {
    let lab = runs();
    lab.write("bad.csv", "epoch,valid_accuracy\n0,x\n");
    lab.write("resumed.csv", "epoch,valid_accuracy\n0,0.5\nepoch,valid_accuracy\n1,0.6\n");
    lab.write("mae.csv", "epoch,step,train_mae\n0,1,2\n");
    lab.write("no_validation.csv", "epoch,train_loss\n0,1\n");
    lab.write("zero.csv", "epoch,train_loss\n0,0\n1,-1\n");
    for (arguments, names) in [
        ("no.csv", &["no.csv"][..]),
        (
            "resumed.csv",
            &[
                "resumed.csv: line 3: the header is repeated, as in the log of a resumed run; split the file there, and \
               plot the parts as two runs",
            ],
        ),
        (
            "mae.csv",
            &[
                "mae.csv: no column train_accuracy_epoch or valid_accuracy; its columns are epoch, step, train_mae; choose \
               others with --y",
            ],
        ),
        (
            "mae.csv --y a",
            &[
                "error: mae.csv: no column a; its columns are epoch, step, train_mae; choose others with --y\n",
            ],
        ),
        ("no_validation.csv --y loss --set validation", &["validation", "--set"]),
        ("zero.csv --y loss --logy", &["above 0"]),
        ("logs", &["logs: contains no metrics.csv"]),
        ("bad.csv", &["bad.csv: line 2: valid_accuracy"]),
    ] {
        lab.assert_refused(&format!("plot {arguments} -o figure.svg"), 1, names);
        assert!(!lab.exists("figure.svg"));
    }
    lab.assert_refused("plot logs/version_0 -o no/figure.svg", 1, &["no/figure.svg"]);
}

#[test]
fn columns_of_any_lightning_log_are_drawn_by_their_names() {
    let lab = runs();
    for (name, shift) in [("a", 0.0), ("b", 0.5)] {
        let rows: String =
            (0..3).map(|i| format!("{i},{},NA\n{i},NA,{}\n", 3.0 + shift, 2.0 + shift)).collect();
        lab.write(&format!("{name}.csv"), format!("epoch,train_mae_epoch,valid_mae\n{rows}"));
    }
    let y = "--y train_mae_epoch,valid_mae";
    assert_eq!(legend(&lab, &format!("a.csv {y}")), ["Training", "Validation"]);
    assert!(lab.text("figure.svg").contains("\nmae\n"));
    assert_eq!(legend(&lab, &format!("a.csv b.csv {y}")), both(&["a.csv", "b.csv"]));
    assert_eq!(legend(&lab, &format!("a.csv {y} --set validation")), ["Validation"]);
    assert_eq!(legend(&lab, "a.csv b.csv --y epoch"), ["a.csv epoch", "b.csv epoch"]);
    for (set, name) in [("validation", "Validation"), ("training", "Training")] {
        assert_eq!(legend(&lab, &format!("logs/version_0 --set {set}")), [name]);
    }
}

#[test]
fn a_figure_has_the_width_and_height_asked_for() {
    let lab = runs();
    let options = "logs/version_0 --width 300 --height 450";
    plot(&lab, options, "a.png");
    assert_eq!(lab.read("", "a.png")[16..24], [0, 0, 1, 44, 0, 0, 1, 194]);
    let svg = svg(&lab, options);
    assert!(svg.starts_with(r#"<svg width="300" height="450" viewBox="0 0 1500 2250""#), "{svg}");
}

#[test]
fn a_log_axis_shows_the_values_above_0() {
    let lab = runs();
    let rows: String = (0..5).map(|i| format!("{i},{}\n", 10f64.powi(-i))).collect();
    lab.write("log.csv", format!("epoch,train_loss\n5,0\n{rows}"));
    let svg = svg(&lab, "log.csv --y loss --logy");
    for label in ["10⁰", "10⁻¹", "10⁻²", "10⁻³", "10⁻⁴"] {
        assert!(svg.contains(&format!("\n{label}\n")), "no {label}");
    }
    assert_eq!(svg.matches("<circle").count(), 5 + 1, "all but the 0, and the legend's");
}

#[test]
fn many_epochs_are_lines_in_a_file_that_stays_small() {
    let lab = runs();
    let rows: String = (0..20_000).map(|i| format!("{i},0.{},\n{i},,0.{}\n", i % 7 + 1, i % 5 + 2)).collect();
    lab.write("many.csv", format!("epoch,train_loss,valid_loss\n{rows}"));
    assert_eq!(legend(&lab, "many.csv --y loss"), ["Training", "Validation"]);
    let svg = lab.text("figure.svg");
    assert_eq!(svg.matches("<circle").count(), 0);
    assert!(svg.len() < 400_000, "{} bytes", svg.len());
}

#[test]
fn the_example_of_the_help_works() {
    let lab = runs();
    let help = lab.stdout("plot --help");
    let example = help.lines().find_map(|line| line.strip_prefix("Example: islp-mnist ")).unwrap();
    assert_eq!(lab.stdout(example), "loss.png\n");
    assert!(lab.exists("loss.png"));
}

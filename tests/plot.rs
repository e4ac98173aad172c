//! The command `plot`: its figures, read back from the SVG, and what it refuses.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{checkout, islp_mnist, stdout_of};
use islp_mnist::figure::{Figure, Metric, Run};
use tempfile::{TempDir, tempdir};

/// The middle of a mark's pixel and the ends of the axes' frame, in the SVG's units of a fifth of a pixel.
const MIDDLE: f64 = 2.0;
const LEFT: f64 = 375.0;
const RIGHT: f64 = 2700.0;
const TOP: f64 = 360.0;
const BOTTOM: f64 = 2670.0;

/// The tracked run, whose `metrics.csv` is byte for byte the one that Lightning wrote.
fn tracked(model: &str) -> PathBuf {
    checkout().join("output").join(model).join("version_0")
}

fn plot(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = islp_mnist();
    command.current_dir(folder).arg("plot").args(arguments);
    command
}

/// The SVG that these arguments give.
fn svg(folder: &TempDir, arguments: &[&str]) -> String {
    let arguments = [arguments, &["-o", "figure.svg"]].concat();
    assert_eq!(stdout_of(&mut plot(folder, &arguments)), "figure.svg\n");
    fs::read_to_string(folder.path().join("figure.svg")).unwrap()
}

/// The figure of a `metrics.csv` with this content.
fn figure_of(csv: &str, metric: Metric) -> anyhow::Result<Figure> {
    let folder = tempdir().unwrap();
    write(&folder, "metrics.csv", csv);
    Figure::new(metric, &[Run { name: String::new(), metrics_csv: folder.path().join("metrics.csv") }])
}

fn svg_of(csv: &str, metric: Metric) -> String {
    figure_of(csv, metric).unwrap().to_svg().unwrap()
}

/// The one error line, after which no figure is there.
fn error(folder: &TempDir, arguments: &[&str], code: i32) -> String {
    let output = plot(folder, arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(!folder.path().join("figure.svg").exists());
    let line = stderr.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{stderr}");
    line.strip_prefix("error: ").unwrap().to_owned()
}

fn write(folder: &TempDir, file: &str, text: &str) {
    let path = folder.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// In the order drawn: x ticks, y ticks, names of the axes, powers of ten, legend.
fn texts(svg: &str) -> Vec<&str> {
    svg.split("<text ").skip(1).map(|element| element.split(['>', '<']).nth(1).unwrap().trim()).collect()
}

/// The texts of the legend.
fn legend(svg: &str) -> Vec<&str> {
    texts(svg.rsplit("opacity=\"0.8\"").next().unwrap())
}

fn attribute(element: &str, name: &str) -> f64 {
    element.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
}

/// The middles of the marks of a color, the legend's left out: first the dots, then the plus signs.
fn marks(svg: &str, color: &str) -> [Vec<(f64, f64)>; 2] {
    let drawn = svg.split("opacity=\"0.8\"").next().unwrap();
    let lines = drawn.lines().filter(|line| line.contains(&format!("fill=\"{color}\"")));
    let dots = lines.clone().filter(|line| line.starts_with("<circle"));
    // Of the two bars of a plus sign the level one.
    let pluses = lines.filter(|line| line.contains("width=\"41\" height=\"7\""));
    [
        dots.map(|dot| (attribute(dot, "cx"), attribute(dot, "cy"))).collect(),
        pluses.map(|plus| (attribute(plus, "x") + 20.0, attribute(plus, "y") + 3.0)).collect(),
    ]
}

/// (epoch, value) of the rows in which both stand.
fn values(metrics_csv: &Path, name: &str) -> Vec<(f64, f64)> {
    let text = fs::read_to_string(metrics_csv).unwrap();
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let (epoch, value) = (column("epoch"), column(name));
    rows.filter_map(|row| Some((row[epoch].parse().ok()?, row[value].parse().ok()?))).collect()
}

fn ten_runs(folder: &TempDir) -> Vec<String> {
    let names: Vec<String> = (0..10).map(|i| format!("logs/version_{i}")).collect();
    for (i, name) in names.iter().enumerate() {
        let rows = (0..30).map(|e| format!("{e},0.{}{e:02},\n{e},,0.{}{e:02}\n", 8 - i / 2, 9 - i / 2));
        let rows: String = rows.collect();
        let header = "epoch,train_accuracy_epoch,valid_accuracy\n";
        write(folder, &format!("{name}/metrics.csv"), &(header.to_owned() + &rows));
    }
    names
}

fn strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

#[test]
fn one_run_gives_the_bytes_that_reproduce_left_beside_it() {
    let folder = tempdir().unwrap();
    for model in ["MNIST", "MNIST_MLR"] {
        let run = tracked(model);
        for (input, name) in [(run.clone(), "accuracy.png"), (run.join("metrics.csv"), "accuracy.svg")] {
            let stdout = stdout_of(plot(&folder, &["-o", name]).arg(&input));
            assert_eq!(stdout, format!("{name}\n"));
            let bytes = |path: &Path| fs::read(path.join(name)).unwrap();
            assert!(bytes(folder.path()) == bytes(&run), "{model}/{name}");
        }
    }
    fs::remove_file(folder.path().join("accuracy.png")).unwrap();
    fs::remove_file(folder.path().join("accuracy.svg")).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing else is left");
}

#[test]
fn two_runs_are_the_golden_figure() {
    let folder = tempdir().unwrap();
    let runs = [tracked("MNIST"), tracked("MNIST_MLR")].map(|run| run.display().to_string());
    let drawn = svg(&folder, &[&runs[0], &runs[1]]);
    let golden = fs::read_to_string(checkout().join("tests/golden/plot_two_runs.svg")).unwrap();
    assert!(drawn == golden, "drawn:\n{drawn}");
    let expected = [
        "MNIST/version_0 Training",
        "MNIST/version_0 Validation",
        "MNIST_MLR/version_0 Training",
        "MNIST_MLR/version_0 Validation",
    ];
    assert_eq!(legend(&golden), expected);
    // matplotlib's first two colors.
    for color in ["#1F77B4", "#FF7F0E"] {
        assert_eq!(marks(&golden, color).map(|marks| marks.len()), [30, 30]);
    }
    let last_dot = golden.split("opacity=\"0.8\"").next().unwrap().rfind("<circle").unwrap();
    let first_plus = golden.find("width=\"41\" height=\"7\"").unwrap();
    assert!(last_dot < first_plus, "no dot lies over a plus sign");
}

#[test]
fn the_marks_of_the_loss_lie_at_the_losses_of_lightnings_file() {
    let metrics_csv = tracked("MNIST").join("metrics.csv");
    let drawn = svg_of(&fs::read_to_string(&metrics_csv).unwrap(), Metric::Loss);
    let mut expected = vec!["0", "5", "10", "15", "20", "25", "30"];
    expected.extend(["0.2", "0.4", "0.6", "0.8", "1.0", "1.2", "1.4"]);
    expected.extend(["epoch", "Loss", "Training", "Validation"]);
    assert_eq!(texts(&drawn), expected);

    let losses = ["train_loss", "valid_loss"].map(|name| values(&metrics_csv, name));
    let all = || losses.iter().flatten().map(|point| point.1);
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
    let margin = 0.05 * (high - low);
    let pixel = |from: f64, to: f64, part: f64| ((from + (to - from) * part) / 5.0).round() * 5.0 + MIDDLE;
    let place = |&(epoch, loss): &(f64, f64)| {
        let (x, y) =
            ((epoch + 0.05 * 29.0) / (1.1 * 29.0), (loss - low + margin) / (high - low + 2.0 * margin));
        (pixel(LEFT, RIGHT, x), pixel(BOTTOM, TOP, y))
    };
    let [training, validation] = losses.each_ref().map(|points| points.iter().map(place).collect::<Vec<_>>());
    assert_eq!(training.len(), 30);
    assert_eq!(marks(&drawn, "#000000")[0], training);
    assert_eq!(marks(&drawn, "#FF0000")[1], validation);
}

#[test]
fn line_ends_a_bom_and_the_order_and_number_of_columns_change_nothing() {
    let run = tracked("MNIST");
    let csv = fs::read_to_string(run.join("metrics.csv")).unwrap();
    let expected = fs::read_to_string(run.join("accuracy.svg")).unwrap();
    let rearranged = |row: &str| {
        let mut cells: Vec<&str> = row.split(',').collect();
        cells.reverse();
        format!("lr-RMSprop,{}\n", cells.join(","))
    };
    let rearranged: String = csv.lines().map(rearranged).collect();
    for changed in [csv.clone(), csv.replace("\r\n", "\n"), format!("\u{feff}{csv}"), rearranged] {
        assert!(svg_of(&changed, Metric::Accuracy) == expected, "{changed}");
    }
}

#[test]
fn a_run_without_validation_or_without_training_is_drawn_without_it() {
    let drawn = svg_of("epoch,train_accuracy_epoch,valid_loss\n0,0.5,1\n1,0.75,\n", Metric::Accuracy);
    assert_eq!(legend(&drawn), ["Training"]);
    assert_eq!(marks(&drawn, "#000000")[0].len(), 2);
    let drawn = svg_of("epoch,train_accuracy_epoch,valid_loss\n0,0.5,1\n1,0.75,\n", Metric::Loss);
    assert_eq!(legend(&drawn), ["Validation"]);
    assert_eq!(marks(&drawn, "#FF0000")[1].len(), 1);
}

#[test]
fn a_cell_that_is_not_finite_gives_no_mark() {
    let drawn = svg_of("epoch,train_loss,valid_loss\n0,nan,inf\n1,NaN,2\n2,3,-inf\n", Metric::Loss);
    assert_eq!([marks(&drawn, "#000000")[0].len(), marks(&drawn, "#FF0000")[1].len()], [1, 1]);
}

#[test]
fn a_run_is_called_by_what_its_path_has_of_its_own_or_as_told() {
    let folder = tempdir().unwrap();
    let names = ten_runs(&folder);
    let two = |options: &[&str]| {
        let drawn = svg(&folder, &[&[names[0].as_str(), names[1].as_str()], options].concat());
        legend(&drawn).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = |first: &str, second: &str| {
        [first, second].map(|run| [format!("{run} Training"), format!("{run} Validation")]).concat()
    };
    assert_eq!(two(&[]), lines("version_0", "version_1"));
    assert_eq!(two(&["--label", "a <b> & c", "--label", "d\ne"]), lines("a &lt;b&gt; &amp; c", "d\u{fffd}e"));
    let long = "/home/someone/logs/2024-01-01/";
    let shortened = lines("…s/2024-01-01/first run", "…024-01-01/second run");
    assert_eq!(
        two(&["--label", &format!("{long}first run"), "--label", &format!("{long}second run")]),
        shortened
    );
    let one = svg(&folder, &[&names[0], "--label", "MLP"]);
    assert_eq!(legend(&one), ["MLP Training", "MLP Validation"]);

    write(&folder, "metrics.csv", "epoch,train_accuracy_epoch\n0,0.5\n");
    write(&folder, "other.csv", "epoch,train_accuracy_epoch\n0,0.5\n");
    let here = folder.path().file_name().unwrap().to_str().unwrap();
    let drawn = svg(&folder, &["metrics.csv", "other.csv", "./logs/../logs/version_3"]);
    let expected =
        [&format!("{here} Training"), "other.csv Training", "version_3 Training", "version_3 Validation"];
    assert_eq!(legend(&drawn), expected);
}

#[test]
fn ten_runs_have_a_color_each_and_their_legend_stays_inside_the_axes() {
    let folder = tempdir().unwrap();
    let names = ten_runs(&folder);
    let drawn = svg(&folder, &strs(&names));
    let mut expected = vec!["Training".to_owned(), "Validation".to_owned()];
    expected.extend((0..10).map(|i| format!("version_{i}")));
    assert_eq!(legend(&drawn), expected);
    let tab10 = [
        "#1F77B4", "#FF7F0E", "#2CA02C", "#D62728", "#9467BD", "#8C564B", "#E377C2", "#7F7F7F", "#BCBD22",
        "#17BECF",
    ];
    for color in tab10 {
        assert_eq!(marks(&drawn, color).map(|marks| marks.len()), [30, 30], "{color}");
    }

    let long = |i: usize| Run {
        name: format!("{}{i}", "W".repeat(60)),
        metrics_csv: folder.path().join(&names[i]).join("metrics.csv"),
    };
    for count in [1, 2, 5, 6, 10] {
        let runs: Vec<Run> = (0..count).map(long).collect();
        let drawn = Figure::new(Metric::Accuracy, &runs).unwrap().to_svg().unwrap();
        let frame = drawn.lines().find(|line| line.contains("opacity=\"0.8\"")).unwrap();
        let (x, y) = (attribute(frame, "x"), attribute(frame, "y"));
        assert!(x > LEFT + 0.3 * (RIGHT - LEFT) && x + attribute(frame, "width") < RIGHT, "{count}: {frame}");
        assert!(y > TOP && y + attribute(frame, "height") < BOTTOM, "{count}: {frame}");
    }
}

#[test]
fn ticks_suit_losses_of_any_size_and_leave_room_for_the_name_of_the_axis() {
    let loss = |low: &str, high: &str| {
        let drawn = svg_of(&format!("epoch,train_loss\n0,{high}\n10,{low}\n"), Metric::Loss);
        let name = drawn.lines().find(|line| line.contains("rotate")).unwrap();
        assert!(attribute(name, "x") >= 50.0, "an ascender's height from the left edge: {name}");
        let texts = texts(&drawn);
        let end = texts.iter().position(|text| *text == "epoch").unwrap();
        assert_eq!(texts[..6], ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(texts[end..][..2], ["epoch", "Loss"]);
        assert_eq!(texts.last(), Some(&"Training"));
        texts[6..end].iter().chain(&texts[end + 2..texts.len() - 1]).copied().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(loss("0.1", "1.5"), "0.2 0.4 0.6 0.8 1.0 1.2 1.4");
    assert_eq!(loss("1e-5", "1e5"), "0.0 0.2 0.4 0.6 0.8 1.0 1e5");
    assert_eq!(loss("0", "90000"), "0 20000 40000 60000 80000");
    assert_eq!(loss("1e-5", "9e-5"), "1 2 3 4 5 6 7 8 9 1e−5");
    assert_eq!(loss("0.0001", "0.002"), "0.00025 0.00050 0.00075 0.00100 0.00125 0.00150 0.00175 0.00200");
    assert_eq!(loss("-2e300", "5e300"), "−2 −1 0 1 2 3 4 5 1e300");
    assert_eq!(loss("0.30001", "0.30002"), "0.300010 0.300012 0.300014 0.300016 0.300018 0.300020");
}

#[test]
fn marks_on_the_same_pixel_are_drawn_once() {
    let rows: String = (0..200_000).map(|i| format!("{},0.{},0.5\n", i % 3, 1 + i % 2)).collect();
    let drawn = svg_of(&format!("epoch,train_accuracy_epoch,valid_accuracy\n{rows}"), Metric::Accuracy);
    assert_eq!([marks(&drawn, "#000000")[0].len(), marks(&drawn, "#FF0000")[1].len()], [6, 3]);
}

#[test]
fn the_ending_decides_the_format_and_a_file_that_is_there_is_replaced() {
    let folder = tempdir().unwrap();
    let run = tracked("MNIST");
    for (name, start) in [("a.png", &b"\x89PNG"[..]), ("b.pdf.SVG", b"<svg")] {
        fs::write(folder.path().join(name), "another figure").unwrap();
        assert_eq!(stdout_of(plot(&folder, &["-o", name]).arg(&run)), format!("{name}\n"));
        assert!(fs::read(folder.path().join(name)).unwrap().starts_with(start));
    }
}

#[test]
fn options_that_make_no_figure_are_refused_before_anything_is_read() {
    let folder = tempdir().unwrap();
    for name in ["a.pdf", "png", ".svg"] {
        assert_eq!(
            error(&folder, &["no.csv", "-o", name], 2),
            format!("invalid value '{name}' for '--output <FILE>': must end in .png or .svg; try '--help'")
        );
    }
    let eleven = ["no.csv"; 11];
    let cases: [(&[&str], &str); 6] = [
        (&["no.csv"], "the following required arguments were not provided: --output <FILE>; try '--help'"),
        (
            &["no.csv", "-o", "figure.svg", "--y", "error"],
            "invalid value 'error' for '--y <Y>' [possible values: accuracy, loss]; try '--help'",
        ),
        (
            &["a.csv", "b.csv", "-o", "figure.svg", "--label", "a"],
            "1 --label for 2 METRICS_CSV; give one for each, in their order, or none",
        ),
        (
            &["a.csv", "-o", "figure.svg", "--label", "a", "--label", "b"],
            "2 --label for 1 METRICS_CSV; give one for each, in their order, or none",
        ),
        (
            &["a/metrics.csv", "b.csv", "./a/metrics.csv", "-o", "figure.svg"],
            "./a/metrics.csv is given twice; leave one out, or name both with --label",
        ),
        (
            &[&eleven[..], &["-o", "figure.svg"]].concat(),
            "11 METRICS_CSV; a figure has colors for 10 runs at most",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(error(&folder, arguments, 2), expected);
    }
}

#[test]
fn a_file_that_cannot_be_drawn_is_one_line_that_names_it_and_what_it_lacks() {
    let header = "epoch,train_loss,valid_loss\n";
    let cases = [
        ("", "no column epoch; it takes a training run's metrics.csv"),
        ("epoch;train_loss\n0;1\n", "no column epoch; it takes a training run's metrics.csv"),
        (
            "epoch,step,test_accuracy,test_loss\r\n0,188,0.9,0.3\r\n",
            "no column train_loss or valid_loss; it takes a training run's metrics.csv",
        ),
        (header, "no row holds an epoch together with train_loss or valid_loss"),
        ("epoch,valid_loss\n0,nan\n", "no row holds an epoch together with valid_loss"),
        (&format!("{header}0,1,\n0,,1.5x\n"), "line 3: valid_loss is \"1.5x\", not a number"),
        (&format!("{header}0,1,\nzero,,1\n"), "line 3: epoch is \"zero\", not a number"),
        (&format!("{header}0,1,\n0,1\n"), "(line: 3, "),
        (&format!("{header}0,1,\n0,,1,2\n"), "(line: 3, "),
    ];
    for (csv, expected) in cases {
        let error = format!("{:#}", figure_of(csv, Metric::Loss).unwrap_err());
        assert!(error.contains("/metrics.csv: ") && error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    let folder = tempdir().unwrap();
    fs::create_dir_all(folder.path().join("logs/version_0")).unwrap();
    let no_file = |path| error(&folder, &[path, "-o", "figure.svg"], 1);
    assert_eq!(no_file("no.csv"), "no.csv: No such file or directory (os error 2)");
    assert_eq!(no_file("logs"), "logs: holds no metrics.csv; a version folder such as version_0 does");
    let run = tracked("MNIST").display().to_string();
    assert!(
        error(&folder, &[&run, "-o", "no/figure.svg"], 1)
            .starts_with("cannot write no/figure.svg: No such file")
    );
}

#[test]
fn names_that_the_legend_would_cut_to_the_same_are_refused() {
    let folder = tempdir().unwrap();
    ten_runs(&folder);
    let settings = "batch_size=256,dropout=0.4,optimizer=RMSprop";
    for lr in ["0.1", "0.2"] {
        let run = format!("lr={lr},{settings}/metrics.csv");
        fs::create_dir(folder.path().join(&run).parent().unwrap()).unwrap();
        fs::copy(folder.path().join("logs/version_0/metrics.csv"), folder.path().join(&run)).unwrap();
    }
    let runs = [format!("lr=0.1,{settings}"), format!("lr=0.2,{settings}")];
    assert_eq!(
        error(&folder, &[&runs[0], &runs[1], "-o", "figure.svg"], 1),
        format!(
            "the legend has to cut {} and {} to the same …4,optimizer=RMSprop; name the runs with --label",
            runs[0], runs[1]
        )
    );
    let drawn = svg(&folder, &[&runs[0], &runs[1], "--label", "lr 0.1", "--label", "lr 0.2"]);
    assert_eq!(legend(&drawn)[0], "lr 0.1 Training");
}

#[test]
fn help_shows_the_default_and_an_example_that_works() {
    let help = stdout_of(islp_mnist().args(["plot", "--help"]));
    assert!(help.contains("[default: accuracy]"), "{help}");
    let example = help.lines().find_map(|line| line.strip_prefix("Example: islp-mnist plot ")).unwrap();
    let folder = tempdir().unwrap();
    std::os::unix::fs::symlink(checkout().join("output"), folder.path().join("output")).unwrap();
    let arguments: Vec<&str> = example.split(' ').collect();
    assert_eq!(stdout_of(&mut plot(&folder, &arguments)), "loss.png\n");
}

//! The figure, compared with matplotlib 3.11's of the same rows: pixels are `ax.transData.transform` of the points, y from
//! the top and rounded as Agg snaps marks; tick labels are those inside `ax.get_xlim()` and `ax.get_ylim()`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;

use crate::common::{checkout, words};
use islp_mnist::chart::{self, CsvError, Error, Figure, Metric, MetricError, Name, Picture, Source, Stack};

/// Two epochs as Lightning logged them.
const TWO_EPOCHS: &str = "\
epoch,step,test_accuracy,test_loss,train_accuracy_epoch,train_accuracy_step,train_loss,valid_accuracy,valid_loss\r
0,49,,,,0.74609375,,,\r
0,187,,,,,,0.925000011920929,0.26114922761917114\r
0,187,,,0.7808958292007446,,1.4875969886779785,,\r
1,199,,,,0.88671875,,,\r
1,375,,,,,,0.9420833587646484,0.19774270057678223\r
1,375,,,0.8866875171661377,,0.3914215862751007,,\r
2,376,0.9415000081062317,0.20371714234352112,,,,,\r
";

/// The tracked run's file, as Lightning wrote it.
fn tracked() -> String {
    fs::read_to_string(checkout().join("output/MNIST/version_0/metrics.csv")).unwrap()
}

fn accuracy(csv: &str) -> Figure {
    Figure::from_csv(Metric::Accuracy, csv.as_bytes()).unwrap()
}

fn loss(csv: &str) -> Figure {
    Figure::from_csv(Metric::Loss, csv.as_bytes()).unwrap()
}

/// The error on a file drawn for its loss.
fn error(csv: impl AsRef<[u8]>) -> CsvError {
    Figure::from_csv(Metric::Loss, csv.as_ref()).unwrap_err()
}

/// The pixels, row by row, RGB.
fn decode(figure: &Figure) -> Vec<u8> {
    let mut reader = png::Decoder::new(Cursor::new(figure.to_png().unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (600, 600, png::ColorType::Rgb));
    bytes
}

/// Fails unless black dots and red plus signs lie around these pixels and nowhere else, the legend at the lower right
/// left out.
fn assert_marks(csv: &str, dots: &[(usize, usize)], pluses: &[(usize, usize)]) {
    let pixels = decode(&accuracy(csv));
    for (color, marks) in [([0, 0, 0], dots), ([255, 0, 0], pluses)] {
        let inside = (76..540).flat_map(|x| (73..534).map(move |y| (x, y)));
        let colored =
            inside.filter(|(x, y)| (*x < 405 || *y < 475) && pixels[(y * 600 + x) * 3..][..3] == color);
        let colored: BTreeSet<(usize, usize)> = colored.collect();
        for mark in marks {
            assert!(colored.contains(mark), "{color:?} is not at {mark:?}");
        }
        let reached =
            |(x, y): &(usize, usize)| marks.iter().any(|(u, v)| x.abs_diff(*u).max(y.abs_diff(*v)) <= 4);
        let astray = colored.iter().find(|pixel| !reached(pixel));
        assert_eq!(astray, None, "{color:?} is elsewhere");
    }
}

/// The texts of the SVG in the order drawn: names of the axes, ticks from the left and from below, legend.
fn texts(figure: &Figure) -> Vec<String> {
    let svg = figure.to_svg().unwrap();
    svg.split("<text ").skip(1).map(|text| text.split(['>', '<']).nth(1).unwrap().trim().to_owned()).collect()
}

/// The centers of the dots of a color in the SVG, in pixels; the legend's is the last.
fn dots(figure: &Figure, color: &str) -> Vec<(f64, f64)> {
    let svg = figure.to_svg().unwrap();
    let number = |dot: &str, name: &str| -> f64 {
        dot.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    };
    let dots = svg.lines().filter(|line| line.starts_with("<circle") && line.contains(color));
    dots.map(|dot| ((number(dot, "cx") - 2.0) / 5.0, (number(dot, "cy") - 2.0) / 5.0)).collect()
}

#[test]
fn marks_lie_on_the_same_pixels_as_matplotlibs() {
    assert_marks(TWO_EPOCHS, &[(96, 513), (519, 237)], &[(96, 138), (519, 93)]);
    let one = "epoch,train_accuracy_epoch,valid_accuracy\n0,,0.925\n0,0.78,\n";
    assert_marks(one, &[(308, 513)], &[(308, 93)]);
    let equal = "epoch,train_accuracy_epoch,valid_accuracy\n0,,0.5\n1,,0.5\n2,,0.5\n3,nan,inf\n,0.1,0.1\n";
    assert_marks(equal, &[], &[(96, 303), (308, 303), (519, 303)]);
}

#[test]
fn each_loss_lies_at_its_value_between_the_ends_of_the_axes() {
    let rows: Vec<(f64, f64)> = tracked()
        .lines()
        .skip(1)
        .filter_map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            Some((cells[0].parse().ok()?, cells[6].parse().ok()?))
        })
        .collect();
    assert_eq!(rows.len(), 30);
    let validation = tracked();
    let validation = validation.lines().skip(1).filter_map(|row| row.split(',').nth(8)?.parse::<f64>().ok());
    let losses: Vec<f64> = validation.chain(rows.iter().map(|row| row.1)).collect();
    let low = losses.iter().copied().fold(f64::MAX, f64::min);
    let span = losses.iter().copied().fold(f64::MIN, f64::max) - low;
    let place = |&(epoch, loss): &(f64, f64)| {
        let (x, y) = ((epoch / 29.0 + 0.05) / 1.1, ((loss - low) / span + 0.05) / 1.1);
        ((75.0 + 465.0 * x).round(), (534.0 - 462.0 * y).round())
    };
    let drawn = dots(&loss(&tracked()), "#000000");
    assert_eq!(drawn[..30], rows.iter().map(place).collect::<Vec<_>>());
}

#[test]
fn a_mark_has_as_much_ink_as_matplotlibs() {
    let pixels = decode(&accuracy(TWO_EPOCHS));
    let ink = |(x, y): (usize, usize), channel: usize| {
        let around = (y - 7..y + 8).flat_map(|y| (x - 7..x + 8).map(move |x| (x, y)));
        around.map(|(x, y)| 1.0 - f64::from(pixels[(y * 600 + x) * 3 + channel]) / 255.0).sum::<f64>()
    };
    for (what, drawn, matplotlib) in [("dot", ink((96, 513), 0), 74.1), ("plus", ink((96, 138), 1), 20.5)] {
        assert!((drawn / matplotlib - 1.0).abs() < 0.05, "{what}: {drawn} pixels, matplotlib {matplotlib}");
    }
}

#[test]
fn ticks_and_labels_are_matplotlibs_but_no_epoch_is_a_half() {
    let joined = |figure: &Figure| texts(figure).join(" ");
    assert_eq!(
        joined(&accuracy(TWO_EPOCHS)),
        "Accuracy epoch 0.78 0.80 0.82 0.84 0.86 0.88 0.90 0.92 0.94 0 1 Training Validation"
    );
    assert_eq!(
        joined(&loss(&tracked())),
        "Loss epoch 0.2 0.4 0.6 0.8 1.0 1.2 1.4 0 5 10 15 20 25 30 Training Validation"
    );
    let one = joined(&loss("epoch,train_loss\n0,0\n"));
    assert_eq!(one, "Loss epoch −0.04 −0.02 0.00 0.02 0.04 0 Training");
}

#[test]
fn ticks_suit_losses_of_any_size_and_leave_room_for_the_name_of_the_axis() {
    let ticks = |low: &str, high: &str| {
        let figure = loss(&format!("epoch,train_loss\n0,{high}\n10,{low}\n"));
        let svg = figure.to_svg().unwrap();
        let name = svg.split("rotate(270, ").nth(1).unwrap().split(',').next().unwrap();
        assert!(name.parse::<i32>().unwrap() >= 0, "the axis' name begins left of the page, at {name}");
        let texts = texts(&figure).join(" ");
        texts.replacen("Loss epoch ", "", 1).replacen(" 0 2 4 6 8 10", "", 1).replacen(" Training", "", 1)
    };
    assert_eq!(ticks("1e-5", "1e5"), "0.0 0.2 0.4 0.6 0.8 1.0 1e5");
    assert_eq!(ticks("0", "90000"), "0 20000 40000 60000 80000");
    assert_eq!(ticks("1e-5", "9e-5"), "1 2 3 4 5 6 7 8 9 1e−5");
    assert_eq!(ticks("0.0001", "0.002"), "0.00025 0.00050 0.00075 0.00100 0.00125 0.00150 0.00175 0.00200");
    assert_eq!(ticks("-2e300", "5e300"), "−2 −1 0 1 2 3 4 5 1e300");
    assert_eq!(ticks("0.30001", "0.30002"), "0.300010 0.300012 0.300014 0.300016 0.300018 0.300020");
}

#[test]
fn the_legend_is_at_the_lower_right_and_avoids_marks() {
    let legend = |csv| *dots(&accuracy(csv), "#000000").last().unwrap();
    assert_eq!(legend(TWO_EPOCHS), (432.0, 491.0));
    let falling = "epoch,train_accuracy_epoch,valid_accuracy\n0,0.9,0.2\n1,0.8,0.1\n2,0.7,0.1\n";
    assert!(legend(falling).1 < 150.0);
}

#[test]
fn line_ends_a_bom_and_the_order_and_number_of_columns_change_nothing() {
    let csv = tracked();
    let reversed = |row: &str| format!("lr-RMSprop,{}\n", row.rsplit(',').collect::<Vec<_>>().join(","));
    let rearranged: String = csv.lines().map(reversed).collect();
    for changed in [csv.replace("\r\n", "\n"), format!("\u{feff}{csv}"), rearranged] {
        assert_eq!(accuracy(&changed).to_svg().unwrap(), accuracy(&csv).to_svg().unwrap());
    }
}

#[test]
fn a_run_without_validation_or_without_training_is_drawn_without_it_but_not_as_the_notebooks_figure() {
    let csv = "epoch,train_accuracy_epoch,valid_loss\n0,0.5,1\n1,0.75,\n";
    assert_eq!(texts(&accuracy(csv)).last().unwrap(), "Training");
    assert_eq!(texts(&loss(csv)).last().unwrap(), "Validation");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    fs::write(&path, csv).unwrap();
    let error = chart::accuracy(&path).unwrap_err();
    assert!(matches!(&error, Error::Csv { path: named, .. } if *named == path), "{error:?}");
}

#[test]
fn marks_on_the_same_pixel_are_drawn_once() {
    let rows: String = (0..54).map(|i| format!("{},0.{}\n", i % 3, 1 + i % 2)).collect();
    let figure = accuracy(&format!("epoch,train_accuracy_epoch\n{rows}"));
    assert_eq!(dots(&figure, "#000000").len(), 6 + 1, "three epochs, two values, and the legend's");
}

#[test]
fn a_long_name_is_cut_at_its_end_if_given_and_at_its_start_if_a_path() {
    let legend = |names: [Name; 2]| {
        let metrics_csv = checkout().join("output/MNIST/version_0/metrics.csv");
        let sources = names.map(|name| Source { name, metrics_csv: metrics_csv.clone() });
        Figure::new(Metric::Loss, &sources).map(|figure| texts(&figure).split_off(16))
    };
    let long = "a name of far more letters than a legend has room for";
    let shown = legend([Name::Given(long.into()), Name::Path(long.into())]).unwrap();
    assert_eq!(shown[0], "a name of far more le… Training");
    assert_eq!(shown[3], "…a legend has room for Validation");
    assert_eq!(
        legend([Name::Given("a\nb".into()), Name::Path("<&>".into())]).unwrap()[0],
        "a\u{fffd}b Training"
    );

    let [one, two] = ["one", "two"].map(|end| format!("{long} {end}"));
    assert!(legend([Name::Path(one.clone()), Name::Path(two.clone())]).is_ok());
    let error = legend([Name::Given(one.clone()), Name::Given(two.clone())]).unwrap_err();
    assert!(matches!(error, Error::SameName { names, .. } if names == [one, two]));
}

#[test]
fn a_file_that_cannot_be_drawn_is_refused_with_what_it_lacks() {
    for csv in ["", "epoch;train_loss\n0;1\n", "train_loss\n1\n"] {
        assert!(matches!(error(csv), CsvError::NoColumn { names, .. } if names == "epoch"), "{csv:?}");
    }
    let no_loss = error("epoch,step,test_loss\n0,188,0.3\n");
    let text = "no column train_loss or valid_loss; its columns are epoch, step, test_loss";
    assert_eq!(no_loss.to_string(), text);
    assert!(matches!(no_loss, CsvError::NoColumn { names, .. } if names == "train_loss or valid_loss"));
    for csv in ["epoch,valid_loss\n", "epoch,valid_loss\n0,nan\n", "epoch,valid_loss\n,1\n"] {
        assert!(matches!(error(csv), CsvError::NoPoint { names } if names == "valid_loss"), "{csv:?}");
    }
    for (csv, cell) in [
        ("epoch,valid_loss\n0,1\n0,1.5x\n", "1.5x"),
        ("epoch,valid_loss\r\n0,1\r\n0,x\r\n", "x"),
        ("epoch,valid_loss\n\n0,x", "x"),
        ("epoch,valid_loss\n0,1\n\"a\nb\",1\n", "a\\nb"),
    ] {
        assert!(
            matches!(error(csv), CsvError::NotANumber { line: 3, cell: named, .. } if named == cell),
            "{csv:?}"
        );
    }
    for csv in ["epoch,valid_loss\n0,1,2\n", "epoch,valid_loss\n0\n"] {
        assert!(matches!(error(csv), CsvError::Malformed(_)), "{csv:?}");
    }
}

#[test]
fn the_usual_columns_of_a_lightning_log_are_found_the_first_of_the_list() {
    type Draw = fn(&str) -> Figure;
    let lists: [(Draw, &str, &str); 2] = [
        (
            accuracy,
            "train_accuracy_epoch train_accuracy train_acc_epoch train_acc train/accuracy train/acc accuracy acc",
            "valid_accuracy val_accuracy valid_acc val_acc valid_accuracy_epoch val_accuracy_epoch \
             valid_acc_epoch val_acc_epoch validation_accuracy val/accuracy val/acc",
        ),
        (
            loss,
            "train_loss train_loss_epoch train/loss loss",
            "valid_loss val_loss valid_loss_epoch val_loss_epoch validation_loss val/loss",
        ),
    ];
    for (figure, training, validation) in lists {
        let [training, validation] = [training, validation].map(words);
        let expected = figure(&format!("epoch,{},{}\n0,1,2\n1,3,4\n", training[0], validation[0]));
        let expected = expected.to_svg().unwrap();
        for (i, first) in training.iter().enumerate() {
            for (j, second) in validation.iter().enumerate() {
                // Later ones in the lists have other values, further left.
                let later = [&training[i + 1..], &validation[j + 1..]].concat();
                let header = [&["epoch"][..], &later, &[*first, *second]].concat().join(",");
                let others = ",9".repeat(later.len());
                let csv = format!("{header}\n0{others},1,2\n1{others},3,4\n");
                assert!(figure(&csv).to_svg().unwrap() == expected, "{csv}");
            }
        }
    }
}

#[test]
fn columns_are_drawn_by_what_their_names_say_or_else_in_their_order() {
    let csv = "epoch,train_mae_epoch,valid_mae,mae,rmse,val_rmse,train_mae,value\n0,1,2,3,4,5,6,7\n1,2,3,4,5,6,7,8\n";
    // The axis, and the legend's dot and plus sign.
    for (columns, expected) in [
        ("train_mae_epoch,valid_mae", ["mae", "Training", "Validation"]),
        ("valid_mae, train_mae_epoch", ["mae", "Training", "Validation"]),
        ("train_mae,val_rmse", ["train_mae, val_rmse", "train_mae", "val_rmse"]),
        ("mae,rmse", ["mae, rmse", "mae", "rmse"]),
        ("rmse,mae", ["rmse, mae", "rmse", "mae"]),
        ("valid_mae,rmse", ["rmse, valid_mae", "rmse", "valid_mae"]),
        ("mae,train_mae", ["mae", "train_mae", "mae"]),
        ("train_mae,train_mae_epoch", ["mae", "train_mae", "train_mae_epoch"]),
    ] {
        let figure = Figure::from_csv(columns.parse().unwrap(), csv.as_bytes()).unwrap();
        let shown = texts(&figure);
        assert_eq!([&shown[0], &shown[shown.len() - 2], &shown[shown.len() - 1]], expected, "{columns}");
        assert_eq!(dots(&figure, "#000000").len(), 2 + 1, "{columns}");
    }
    for (column, expected, is_dot) in [
        ("train_mae_epoch", ["mae", "Training"], true),
        ("valid_mae", ["mae", "Validation"], false),
        ("mae", ["mae", "mae"], true),
        ("value", ["value", "value"], false),
    ] {
        let figure = Figure::from_csv(column.parse().unwrap(), csv.as_bytes()).unwrap();
        let shown = texts(&figure);
        assert_eq!([&shown[0], shown.last().unwrap()], expected, "{column}");
        assert_eq!(!dots(&figure, "#000000").is_empty(), is_dot, "{column}");
    }
}

#[test]
fn one_or_two_columns_are_drawn_and_each_must_be_there() {
    for (text, error) in [
        ("", MetricError::Empty),
        (",", MetricError::Empty),
        ("mae, ", MetricError::Empty),
        ("mae,mae", MetricError::Twice("mae".into())),
        ("a,b,c", MetricError::TooMany(3)),
    ] {
        assert_eq!(text.parse::<Metric>(), Err(error), "{text:?}");
    }
    let csv = b"epoch,step,train_mae\n0,1,2\n";
    let error = Figure::from_csv("train_mae,valid_mae".parse().unwrap(), csv).unwrap_err();
    assert_eq!(error.to_string(), "no column valid_mae; its columns are epoch, step, train_mae");
}

#[test]
fn an_error_lists_no_more_columns_than_a_line_has_room_for_and_no_control_characters() {
    let header: String = (0..100).map(|i| format!(",c{i}")).collect();
    let error = error(format!("epoch,\"a\nb\",{header}\n")).to_string();
    assert!(error.contains(r#"its columns are epoch, a\nb, "", c0, "#), "{error}");
    assert!(error.ends_with(", c16 and 83 more"), "{error}");
}

#[test]
fn a_missing_cell_of_r_or_pandas_gives_no_point() {
    let csv = |missing: &str| {
        format!("epoch,train_loss,valid_loss\n0,1,{missing}\n0,{missing},2\n1,3,{missing}\n{missing},9,9\n")
    };
    let expected = loss(&csv("")).to_svg().unwrap();
    for missing in ["NA", "null", "None", "nan", "NaN", "NULL", "N/A", "<NA>", " NA ", "\"NA\""] {
        assert!(loss(&csv(missing)).to_svg().unwrap() == expected, "{missing}");
    }
    let error = error(csv("NAN0"));
    assert!(matches!(error, CsvError::NotANumber { line: 2, .. }), "{error}");
}

#[test]
fn a_repeated_header_is_named_with_its_line() {
    for csv in [
        "epoch,train_loss,valid_loss\n0,1,\n0,,2\nepoch,train_loss,valid_loss\n1,1,\n",
        "epoch,train_loss,valid_loss\n0,1,\n0,,2\nvalid_loss,epoch,train_loss\n1,1,\n",
        "epoch,train_loss\n0,1\n0,2\nepoch,step,train_loss,valid_loss\n1,1,1,1\n",
        "\u{feff}epoch,train_loss\r\n0,1\r\n0,2\r\n\u{feff}epoch,train_loss\r\n1,1\r\n",
        "epoch,train_loss,unit\n0,1,epoch\n0,2,epoch\nepoch,train_loss,unit\n",
    ] {
        let error = error(csv);
        assert!(matches!(error, CsvError::HeaderAgain { line: 4 }), "{csv:?}: {error}");
    }
}

#[test]
fn marks_below_the_dots_of_a_stack_lie_at_their_values() {
    let values = vec![0.0, 0.4, 1.0];
    let mut stack = Stack::new(["x", "y"], "a dot", values, ("a range", [0.2, 0.6]));
    stack.line("a line", 0.5);
    let plain = stack.to_svg().unwrap();
    stack.mark("marks", vec![0.25, 1.5]);
    let svg = stack.to_svg().unwrap();
    assert!(svg.contains(">\nmarks\n</text>") && !plain.contains("marks"), "{svg}");
    // From 0 to 1.5, and 5 % around it, on the 465 pixels from the 75th; in the SVG a pixel is 5 units.
    for value in [0.25, 1.5] {
        let x = (75.0 + 465.0 * (value + 0.075) / 1.65_f64).round() as i32 * 5 + 2;
        let y = (534.0 - 462.0 * 0.05 / 1.1_f64).round() as i32 * 5 + 2;
        let bar = format!("<rect x=\"{}\" y=\"{}\" width=\"41\" height=\"7\"", x - 20, y - 3);
        assert!(svg.contains(&bar), "no {bar} in {svg}");
    }
}

#[test]
fn no_csv_causes_a_panic() {
    let numbers = ["0", "-0", "1e308", "-1e308", "1e-320", "1e-300", "0.10000000000000002", "1e17", "-5e15"];
    for x in numbers {
        for y in numbers {
            let csv = format!("epoch,train_loss,valid_loss\n0,{x},{y}\n{x},{y},0.5\n{y},0.5,{x}\n");
            loss(&csv).to_svg().unwrap();
        }
    }
    loss("epoch,train_loss\n-1e308,1e308\n1e308,-1e308\n").to_png().unwrap();
    for csv in [&b"\xff\xfe\x00"[..], b"epoch\xff,a\n", b"\"", b"\n\n\n", b"epoch,epoch\n1,2\n"] {
        error(csv);
    }
}

//! The figure: its marks counted in the decoded PNG and in the SVG, its ticks and pixels held against
//! matplotlib's.
//!
//! The expected pixels and tick labels are matplotlib 3.11's for the same rows: `ax.transData.transform` of
//! the points (y from the top, rounded as Agg snaps marks) and the labels of the ticks inside
//! `ax.get_xlim()`, `ax.get_ylim()`.

use std::collections::BTreeSet;
use std::io::Cursor;

use islp_mnist::figure::{self, Figure};

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

const HEADER: &str = "epoch,train_accuracy_epoch,valid_accuracy\r\n";

/// A pixel to the upper left of the legend at its usual place.
const LEGEND: (usize, usize) = (405, 475);

fn read(csv: impl AsRef<[u8]>) -> anyhow::Result<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    std::fs::write(&path, csv).unwrap();
    figure::accuracy(&path)
}

type Pixels = BTreeSet<(usize, usize)>;

/// The figure's pixels, row by row, RGB.
fn decode(figure: &Figure) -> Vec<u8> {
    let png = figure.to_png().unwrap();
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((info.width, info.height), (600, 600));
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    bytes
}

/// The black and the red pixels inside the axes' frame, (column, row).
fn ink(figure: &Figure) -> (Pixels, Pixels) {
    let bytes = decode(figure);
    let inside = (76..540).flat_map(|x| (73..534).map(move |y| (x, y)));
    let of = |color: [u8; 3]| {
        let is = |&(x, y): &(usize, usize)| bytes[(y * 600 + x) * 3..][..3] == color;
        inside.clone().filter(is).collect()
    };
    (of([0, 0, 0]), of([255, 0, 0]))
}

fn outside_the_legend(pixels: Pixels) -> Pixels {
    pixels.into_iter().filter(|pixel| pixel.0 < LEGEND.0 || pixel.1 < LEGEND.1).collect()
}

/// The middle of each connected patch, sorted by column.
fn patches(mut pixels: Pixels) -> Vec<(usize, usize)> {
    let mut middles = Vec::new();
    while let Some(first) = pixels.pop_first() {
        let (mut patch, mut next) = (vec![first], 0);
        while next < patch.len() {
            let (x, y) = patch[next];
            let around = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)];
            patch.extend(around.into_iter().filter(|pixel| pixels.remove(pixel)));
            next += 1;
        }
        let middle = |part: fn(&(usize, usize)) -> usize| {
            let ends = (patch.iter().map(part).min(), patch.iter().map(part).max());
            (ends.0.unwrap() + ends.1.unwrap()) / 2
        };
        middles.push((middle(|pixel| pixel.0), middle(|pixel| pixel.1)));
    }
    middles.sort();
    middles
}

fn count(svg: &str, element: &str, color: &str) -> usize {
    let (tag, fill) = (format!("<{element} "), format!("fill=\"{color}\""));
    svg.lines().filter(|line| line.starts_with(&tag) && line.contains(&fill)).count()
}

/// The texts of the SVG in the order drawn: x ticks, y ticks, axis labels, legend.
fn texts(figure: &Figure) -> Vec<String> {
    let svg = figure.to_svg().unwrap();
    let elements = svg.split("<text ").skip(1);
    elements.map(|e| e.split(['>', '<']).nth(1).unwrap().trim().to_owned()).collect()
}

fn curve(epochs: usize) -> String {
    let rows = (0..epochs).map(|e| {
        let x = e as f64;
        format!("{e},,{}\r\n{e},{},\r\n", 0.96 - 0.1 / (x + 1.0), 0.9 - 0.3 / (x + 1.0))
    });
    HEADER.to_owned() + &rows.collect::<String>()
}

#[test]
fn the_marks_lie_on_the_pixels_where_matplotlib_has_them() {
    let (black, red) = ink(&read(TWO_EPOCHS).unwrap());
    assert_eq!(patches(outside_the_legend(black)), [(96, 513), (519, 237)]);
    assert_eq!(patches(outside_the_legend(red)), [(96, 138), (519, 93)]);
}

#[test]
fn thirty_epochs_give_thirty_marks_of_each_kind_in_the_png_and_in_the_svg() {
    let figure = read(curve(30)).unwrap();
    let (black, red) = ink(&figure);
    assert_eq!(patches(outside_the_legend(black)).len(), 30);
    assert_eq!(patches(outside_the_legend(red)).len(), 30);
    let svg = figure.to_svg().unwrap();
    assert_eq!(count(&svg, "circle", "#000000"), 30 + 1, "dots and the legend's");
    assert_eq!(count(&svg, "rect", "#FF0000"), 2 * (30 + 1) + 1, "bars of plus signs, legend line");
}

#[test]
fn a_mark_holds_as_much_ink_as_matplotlibs() {
    let bytes = decode(&read(TWO_EPOCHS).unwrap());
    let ink = |(x, y): (usize, usize), channel: usize| {
        let around = (y - 7..y + 8).flat_map(|y| (x - 7..x + 8).map(move |x| (x, y)));
        around.map(|(x, y)| 255.0 - f64::from(bytes[(y * 600 + x) * 3 + channel])).sum::<f64>() / 255.0
    };
    for (what, drawn, matplotlib) in [("dot", ink((96, 513), 0), 74.1), ("plus", ink((96, 138), 1), 20.5)] {
        let difference = (drawn / matplotlib - 1.0).abs();
        assert!(difference < 0.05, "{what}: {drawn} pixels, matplotlib {matplotlib}");
    }
}

#[test]
fn the_ticks_and_labels_are_matplotlibs() {
    let mut expected = vec!["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"];
    expected.extend(["0.78", "0.80", "0.82", "0.84", "0.86", "0.88", "0.90", "0.92", "0.94"]);
    expected.extend(["epoch", "Accuracy", "Training", "Validation"]);
    assert_eq!(texts(&read(TWO_EPOCHS).unwrap()), expected);
}

#[test]
fn one_epoch_gives_one_mark_each_in_the_middle_of_a_widened_axis() {
    let figure = read(format!("{HEADER}0,,0.925\n0,0.78,\n")).unwrap();
    let (black, red) = ink(&figure);
    assert_eq!(patches(outside_the_legend(black)), [(308, 513)]);
    assert_eq!(patches(outside_the_legend(red)), [(308, 93)]);
    let ticks = ["−0.04", "−0.02", "0.00", "0.02", "0.04", "0.78", "0.80", "0.82", "0.84"];
    assert_eq!(texts(&figure)[..9], ticks);
}

#[test]
fn equal_values_lie_in_the_middle_of_a_widened_axis() {
    let figure = read(format!("{HEADER}0,,0.5\n0,0.5,\n1,,0.5\n1,0.5,\n2,,0.5\n2,0.5,\n")).unwrap();
    let (_, red) = ink(&figure);
    assert_eq!(patches(outside_the_legend(red)), [(96, 303), (308, 303), (519, 303)]);
    assert_eq!(texts(&figure)[9..14], ["0.48", "0.49", "0.50", "0.51", "0.52"]);
    let zeros = texts(&read(format!("{HEADER}0,0,0\n")).unwrap());
    assert_eq!(zeros[5..10], ["−0.04", "−0.02", "0.00", "0.02", "0.04"]);
}

#[test]
fn a_cell_that_is_empty_or_not_finite_gives_no_mark() {
    let csv = format!("{HEADER}0,0.5,0.6\n1,nan,0.7\n2,NaN,\n3,inf,-inf\n4,0.8,0.9\n,0.1,0.1\n");
    let (black, red) = ink(&read(csv).unwrap());
    assert_eq!(patches(outside_the_legend(black)).len(), 2);
    assert_eq!(patches(outside_the_legend(red)).len(), 3);
}

#[test]
fn the_legend_is_at_the_lower_right_and_makes_room_for_marks() {
    let legend_lines = |csv: &str| {
        let (_, red) = ink(&read(csv).unwrap());
        let line = |&y: &usize| (0..600).filter(|&x| red.contains(&(x, y))).count() > 20;
        (0..600).filter(line).collect::<Vec<_>>()
    };
    assert_eq!(legend_lines(TWO_EPOCHS), [512, 513]);
    let falling = format!("{HEADER}0,0.9,0.2\n1,0.8,0.1\n2,0.7,0.1\n");
    assert_eq!(legend_lines(&falling), [111, 112]);
}

#[test]
fn the_same_file_gives_the_same_bytes() {
    let (one, two) = (read(TWO_EPOCHS).unwrap(), read(TWO_EPOCHS).unwrap());
    assert!(one.to_png().unwrap() == two.to_png().unwrap());
    assert_eq!(one.to_svg().unwrap(), two.to_svg().unwrap());
}

#[test]
fn a_file_that_cannot_be_drawn_is_refused_in_one_line_that_names_it() {
    let cases: [(&str, &str); 8] = [
        ("", "no column epoch"),
        ("epoch,valid_accuracy\n0,0.5\n", "no column train_accuracy_epoch"),
        ("epoch,train_accuracy_epoch\n0,0.5\n", "no column valid_accuracy"),
        (HEADER, "no row holds an epoch together with train_accuracy_epoch or valid_accuracy"),
        ("epoch,train_accuracy_epoch,valid_accuracy\n0,,\n", "no row holds"),
        (
            "epoch,train_accuracy_epoch,valid_accuracy\n0,\"a\nb\",\n",
            r#"line 2: train_accuracy_epoch is "a\nb""#,
        ),
        ("epoch,train_accuracy_epoch,valid_accuracy\nx,0.5,\n", r#"line 2: epoch is "x", not a number"#),
        ("epoch,train_accuracy_epoch,valid_accuracy\n0,0.5\n", "line: 2"),
    ];
    for (csv, expected) in cases {
        let error = format!("{:#}", read(csv).unwrap_err());
        assert!(error.contains("metrics.csv: ") && error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let missing = format!("{:#}", figure::accuracy("no/metrics.csv".as_ref()).unwrap_err());
    assert!(missing.starts_with("no/metrics.csv: No such file"), "{missing}");
    let folder = format!("{:#}", figure::accuracy("src".as_ref()).unwrap_err());
    assert!(folder.starts_with("src: ") && !folder.contains('\n'), "{folder}");
}

#[test]
fn no_csv_makes_it_panic() {
    let numbers =
        ["0", "-0", "1e308", "-1e308", "1e-320", "1e-300", "0.1", "0.10000000000000002", "1e17", "-5e15"];
    for x in numbers {
        for y in numbers {
            let figure = read(format!("{HEADER}0,{x},{y}\n{x},{y},0.5\n{y},0.5,{x}\n")).unwrap();
            figure.to_svg().unwrap();
        }
    }
    read(format!("{HEADER}-1e308,1e308,-1e308\n1e308,-1e308,1e-320\n")).unwrap().to_png().unwrap();
    for csv in [&b"\xff\xfe\x00"[..], b"epoch\xff,a\n", b"\"", b"\n\n\n", b"epoch,epoch\n1,2\n"] {
        assert!(read(csv).is_err());
    }
}

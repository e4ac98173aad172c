//! Which of two models is better: their accuracies on the same test images, and whether chance explains the difference.

use super::numbers::signed;
use super::pictures::{self, Picture, percent, thousands};
use super::predictions::{Predictions, mcnemar, paired_difference};
use super::{Error, TestImages};

/// Images of one kind that a page shows.
const MAX_IMAGES: usize = 24;
/// Above this probability a page says that chance explains a difference.
const LEVEL: f64 = 0.05;

/// The answer for two models and the images on which it rests.
pub struct Better {
    pub sentence: String,
    /// True if both predict the same digit for every image.
    pub is_alike: bool,
    /// Whether chance explains it; none if there is nothing to explain.
    pub chance: Option<String>,
    /// Test images that both and neither read.
    pub both: String,
    pub neither: String,
    /// Those that only one of the two reads.
    pub only: [String; 2],
    pub digits: Vec<Digit>,
    /// The digits on which they differ, as a sentence.
    pub differing_digits: String,
    pub groups: Vec<Group>,
}

/// A digit's images, and the fractions that the two models read.
pub struct Digit {
    pub images: usize,
    pub read: [String; 2],
    pub difference: String,
    /// True if the interval of the difference excludes 0.
    pub differs: bool,
}

/// Images of one kind.
pub struct Group {
    pub title: String,
    pub count: usize,
    pub pictures: Vec<Picture>,
}

impl Better {
    /// Compares the predictions of two models of these names for the same images.
    pub fn new(names: [&str; 2], sides: [&Predictions; 2], images: &TestImages) -> Result<Self, Error> {
        let all: Vec<usize> = (0..sides[0].truths.len()).collect();
        let [only_left, only_right] = [[true, false], [false, true]].map(|read| of(sides, &all, read));
        let [both, neither] = [[true, true], [false, false]].map(|read| of(sides, &all, read));
        let differently: Vec<usize> = neither
            .iter()
            .copied()
            .filter(|&image| sides[0].guesses[image] != sides[1].guesses[image])
            .collect();
        let digits: Vec<Digit> = (0..10)
            .map(|digit| {
                let images: Vec<usize> =
                    all.iter().copied().filter(|&image| sides[0].truths[image] == digit).collect();
                Digit::new(sides, &images)
            })
            .collect();
        let counts = [only_left.len(), only_right.len()];
        let is_alike = counts == [0, 0] && differently.is_empty();
        let groups = [
            (format!("Only {} reads these", names[0]), only_left),
            (format!("Only {} reads these", names[1]), only_right),
            ("Both read these wrongly, as different digits".to_owned(), differently),
        ];
        let groups = groups.into_iter().filter(|(_, found)| !found.is_empty());
        Ok(Self {
            sentence: sentence(names, sides, counts, all.len(), is_alike),
            is_alike,
            chance: (counts[0] != counts[1]).then(|| chance(mcnemar(counts[0] as u64, counts[1] as u64))),
            both: thousands(both.len()),
            neither: thousands(neither.len()),
            only: counts.map(thousands),
            differing_digits: differing(&digits),
            digits,
            groups: groups
                .map(|(title, found)| Group::new(title, found, sides, images))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// The images that the two models read, or don't, in this way.
fn of(sides: [&Predictions; 2], images: &[usize], read: [bool; 2]) -> Vec<usize> {
    images.iter().copied().filter(|&image| sides.map(|side| side.is_right(image)) == read).collect()
}

fn sentence(
    names: [&str; 2],
    sides: [&Predictions; 2],
    only: [usize; 2],
    images: usize,
    is_alike: bool,
) -> String {
    let [left, right] = sides.map(|side| percent(side.right() as f64 / images as f64));
    if is_alike {
        return format!("Both predict the same digit for every test image: {left} are right.");
    }
    if only == [0, 0] {
        return format!(
            "Both read the same test images, {left}, but misread some others as different digits."
        );
    }
    if only[0] == only[1] {
        return format!("Both read {left} of the test images, though not the same ones.");
    }
    let is_left = only[0] > only[1];
    let (better, worse) = if is_left { (0, 1) } else { (1, 0) };
    let shares = [left, right];
    let [points, low, high] = paired_difference(only[better], only[worse], images);
    format!(
        "{} reads {} of the test images, {} {}: {points:.2} percentage points more (95 % interval {} to {}).",
        names[better],
        shares[better],
        names[worse],
        shares[worse],
        signed(format!("{low:.2}")),
        signed(format!("{high:.2}"))
    )
}

/// What the p-value of McNemar's test means.
fn chance(p: f64) -> String {
    let value = match p {
        0.0 => "p < 1e-300".into(),
        p if p < 0.0001 => format!("p = {p:.1e}"),
        p => format!("p = {p:.4}"),
    };
    let test = format!("McNemar’s exact test on the images that only one of them reads, {value}");
    let (answer, share, rest) = if p >= LEVEL {
        (
            "Chance alone may explain it",
            format!("{} of", percent(p)),
            ", so this one does not tell which is better",
        )
    } else if p >= 0.001 {
        ("Chance hardly explains it", format!("only one in {:.0}", 1.0 / p), "")
    } else {
        ("Chance does not explain it", "fewer than one in a thousand".into(), "")
    };
    format!(
        "{answer}: if both models were equally good, {share} test sets would show a difference at least this large{rest} \
         ({test})."
    )
}

impl Digit {
    fn new(sides: [&Predictions; 2], images: &[usize]) -> Self {
        let [left, right] = [[true, false], [false, true]].map(|read| of(sides, images, read).len());
        let read = sides.map(|side| images.iter().filter(|&&image| side.is_right(image)).count());
        let [points, low, high] = paired_difference(right, left, images.len());
        let difference = format!("{points:+.2} ({low:+.2} to {high:+.2})");
        let share = |right: usize| {
            if images.is_empty() { "–".into() } else { percent(right as f64 / images.len() as f64) }
        };
        Self {
            images: images.len(),
            read: read.map(share),
            difference: if images.is_empty() { "–".into() } else { signed(difference) },
            differs: !images.is_empty() && (low > 0.0 || high < 0.0),
        }
    }
}

fn differing(digits: &[Digit]) -> String {
    let differing = digits.iter().enumerate().filter(|(_, digit)| digit.differs);
    let differing: Vec<String> = differing.map(|(digit, _)| digit.to_string()).collect();
    match &differing[..] {
        [] => "No digit’s interval excludes 0.".into(),
        all if all.len() == digits.len() => "The intervals of all digits exclude 0.".into(),
        [one] => format!("The interval of the digit {one} excludes 0."),
        [first @ .., last] => {
            format!("The intervals of the digits {} and {last} exclude 0.", first.join(", "))
        }
    }
}

impl Group {
    /// The images of this kind, those first of which a model is most sure.
    fn new(
        title: String,
        mut found: Vec<usize>,
        sides: [&Predictions; 2],
        images: &TestImages,
    ) -> Result<Self, Error> {
        let certainty = |image: usize| {
            sides.map(|side| side.probability(image, side.guesses[image])).into_iter().fold(1.0, f32::min)
        };
        found.sort_by(|a, b| certainty(*b).total_cmp(&certainty(*a)));
        let picture = |&image: &usize| {
            let [left, right] = sides.map(|side| {
                let guess = side.guesses[image];
                // The spaces keep a number and its sign on one line.
                format!("{guess} at\u{a0}{:.1}\u{a0}%", 100.0 * side.probability(image, guess))
            });
            let truth = sides[0].truths[image];
            Ok(Picture {
                source: pictures::digit(&images.get()?.test_images, image)?,
                alt: format!("Test image {image}, {truth}: {left} and {right}"),
                caption: format!("{truth}: {left}, {right}"),
            })
        };
        let pictures = found.iter().take(MAX_IMAGES).map(picture).collect::<Result<_, Error>>()?;
        Ok(Self { title, count: found.len(), pictures })
    }
}

//! On which straight lines ink is: a Hough transform of what is ink in each column.
//!
//! imageproc's has no lines between two whole degrees, which are seven pixels apart at a picture's other end.

use image::GrayImage;

/// How far lines may be from level or upright, as a tangent.
const MAX_SLOPE: f32 = 0.42;

/// Part of a column that is ink.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub x: u32,
    pub top: u32,
    pub length: u32,
}

impl Run {
    pub fn middle(self) -> f32 {
        self.top as f32 + (self.length - 1) as f32 / 2.0
    }
}

/// A Hough transform: how many runs lie on each line, by its slope and its offset.
pub(super) struct Votes {
    /// From a row's slope to the next one's.
    step: f32,
    /// How many slopes there are upwards, and as many downwards.
    slopes: i32,
    /// What is added to an offset for the number of its cell.
    margin: f32,
    /// A row for each slope, a cell for each offset.
    rows: Vec<Vec<u16>>,
    /// The most in two neighbouring cells of each row, and the first cell's number.
    most: Vec<(u16, usize)>,
}

impl Votes {
    /// The votes of runs in a mask of this size.
    pub fn of(runs: &[Run], width: u32, height: u32) -> Self {
        let step = 2.0 / width as f32;
        let slopes = (MAX_SLOPE / step) as i32;
        // Steep lines meet the leftmost column outside the picture.
        let margin = MAX_SLOPE * width as f32;
        let cells = (height as f32 + 2.0 * margin) as usize + 4;
        let rows = vec![vec![0; cells]; (2 * slopes + 1) as usize];
        let mut votes = Self { step, slopes, margin, most: vec![(0, 0); rows.len()], rows };
        votes.count(runs, |vote| *vote += 1);
        votes
    }

    /// Changes the runs' votes for every line through them.
    fn count(&mut self, runs: &[Run], change: impl Fn(&mut u16)) {
        for number in 0..self.rows.len() {
            let slope = self.slope(number);
            for run in runs {
                let cell = (run.middle() - slope * run.x as f32 + self.margin) as usize;
                change(&mut self.rows[number][cell]);
            }
            self.look_for_most(number);
        }
    }

    fn slope(&self, number: usize) -> f32 {
        self.step * (number as i32 - self.slopes) as f32
    }

    fn look_for_most(&mut self, number: usize) {
        let pairs = self.rows[number].windows(2).map(|pair| pair[0] + pair[1]);
        self.most[number] = pairs.zip(0..).max_by_key(|(count, _)| *count).unwrap_or_default();
    }

    /// Where most lie: how many, the row's number and the cell's.
    fn place_of_most(&self) -> (u16, usize, usize) {
        let places = self.most.iter().zip(0..).map(|((count, cell), row)| (*count, row, *cell));
        places.max_by_key(|(count, ..)| *count).expect("one of the slopes is 0")
    }

    /// The line on which most lie: how many, its slope and its offset.
    pub fn most(&self) -> (u32, f32, f32) {
        let (count, row, cell) = self.place_of_most();
        (u32::from(count), self.slope(row), cell as f32 - self.margin + 1.0)
    }

    /// Takes that line for none from now on.
    pub fn forget_most(&mut self) {
        let (_, row, cell) = self.place_of_most();
        self.rows[row][cell..cell + 2].fill(0);
        self.look_for_most(row);
    }

    /// Takes back the votes of runs that were found to be a line.
    pub fn withdraw(&mut self, runs: &[Run]) {
        self.count(runs, |vote| *vote = vote.saturating_sub(1));
    }
}

/// All runs of a mask, column by column.
pub(super) fn runs(mask: &GrayImage) -> Vec<Run> {
    let mut runs = vec![];
    for x in 0..mask.width() {
        let mut top = None;
        for y in 0..=mask.height() {
            let is_ink = y < mask.height() && mask.get_pixel(x, y).0[0] > 0;
            match (is_ink, top) {
                (true, None) => top = Some(y),
                (false, Some(start)) => {
                    runs.push(Run { x, top: start, length: y - start });
                    top = None;
                }
                _ => {}
            }
        }
    }
    runs
}

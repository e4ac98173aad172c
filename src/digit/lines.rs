//! Finds printed lines, of a grid, a ruled sheet or a frame, and removes them from the ink.
//!
//! A line is thin and straight, and continues where a stroke of a digit would end: to the picture's border, or beside
//! others of its kind. Where a stroke crosses it, it is thicker than elsewhere, and stays.

use image::{GrayImage, Luma, imageops};

use super::thresholds::{
    BORDER, LINE_TOLERANCE, MAX_ERASED, MAX_FAILED, MAX_LINE_GAP, MAX_LINE_THICKNESS, MAX_RUNS_PER_COLUMN,
    MAX_SLOPE, MAX_STROKE_LENGTH, MIN_LIKE_LENGTH, MIN_LINE_INK, MIN_LINE_LENGTH, PARALLEL, Ratio, scaled,
};

/// A line from left to right, at height y = `offset` + `slope`·x.
struct Line {
    slope: f32,
    offset: f32,
    from: u32,
    to: u32,
    thickness: u32,
}

impl Line {
    fn at(&self, x: u32) -> f32 {
        self.offset + self.slope * x as f32
    }

    fn length(&self) -> u32 {
        self.to - self.from + 1
    }

    /// The number of its ends that are at the border of the picture.
    fn ends_outside(&self, mask: &GrayImage) -> usize {
        let near = |value: f32, end: u32| value < BORDER[0] * end as f32 || value > BORDER[1] * end as f32;
        let is_outside = |x: &u32| near(*x as f32, mask.width()) || near(self.at(*x), mask.height());
        [self.from, self.to].iter().filter(|x| is_outside(x)).count()
    }

    /// True if it crosses the picture, or reaches its border and is not a single stroke.
    fn leaves(&self, mask: &GrayImage, lines: &[Line]) -> bool {
        match self.ends_outside(mask) {
            0 => false,
            1 => self.is_wide(mask) || lines.iter().filter(|line| line.is_parallel_to(self)).count() > 1,
            _ => true,
        }
    }

    /// True if it is longer than a digit's strokes.
    fn is_wide(&self, mask: &GrayImage) -> bool {
        self.length() > MAX_STROKE_LENGTH.of(mask.width())
    }

    fn is_parallel_to(&self, other: &Line) -> bool {
        (self.slope - other.slope).abs() < PARALLEL
    }
}

/// Removes lines from the mask.
pub(super) fn erase_lines(mask: &mut GrayImage) {
    let turned = imageops::rotate90(mask);
    let (level, upright) = (lines(mask), lines(&turned));
    let (level_kind, upright_kind) = (most_alike(&level), most_alike(&upright));
    for line in &level {
        let is_ruled = level_kind > 2 || level_kind.min(upright_kind) > 1;
        if line.leaves(mask, &level) || line.is_wide(mask) || (is_ruled && alike(line, &level) == level_kind)
        {
            erase(mask, line);
        }
    }
    let mut turned_back = imageops::rotate90(mask);
    for line in &upright {
        // Three upright strokes may be three digits, so only a grid or a frame counts.
        let is_ruled = level_kind.min(upright_kind) > 1;
        if line.leaves(&turned, &upright) || (is_ruled && alike(line, &upright) == upright_kind) {
            erase(&mut turned_back, line);
        }
    }
    *mask = imageops::rotate270(&turned_back);
}

/// The number of lines of the most frequent kind.
fn most_alike(lines: &[Line]) -> usize {
    lines.iter().map(|line| alike(line, lines)).max().unwrap_or(0)
}

/// The number of lines that are parallel to it and about as long, including itself; 0 if it is short among its parallels.
fn alike(line: &Line, lines: &[Line]) -> usize {
    let parallel = || lines.iter().filter(|other| line.is_parallel_to(other));
    let longest = parallel().map(Line::length).max().unwrap_or(0);
    let is_long = |line: &Line| Ratio::new(line.length(), longest) >= MIN_LIKE_LENGTH;
    if is_long(line) { parallel().filter(|other| is_long(other)).count() } else { 0 }
}

/// Finds the lines that are more level than upright.
fn lines(mask: &GrayImage) -> Vec<Line> {
    let (width, height) = mask.dimensions();
    let max_thickness = scaled(MAX_LINE_THICKNESS, width.max(height));
    let mut runs = runs(mask);
    runs.retain(|run| run.length <= max_thickness);
    if runs.len() > MAX_RUNS_PER_COLUMN * width as usize {
        return vec![];
    }
    let min_length = scaled(MIN_LINE_LENGTH, width);
    let max_gap = scaled(MAX_LINE_GAP, width);
    let mut votes = Votes::of(&runs, width, height);
    let (mut found, mut failed) = (vec![], 0);
    while failed < MAX_FAILED {
        let (count, slope, offset) = votes.most();
        if count < MIN_LINE_INK.of(min_length) {
            break;
        }
        let on_it = |run: &Run| (run.middle() - offset - slope * run.x as f32).abs() <= LINE_TOLERANCE;
        let chain = longest_chain(runs.iter().copied().filter(on_it).collect(), max_gap);
        let length = chain.last().map_or(0, |last| last.x - chain[0].x + 1);
        if length < min_length || (chain.len() as u32) < MIN_LINE_INK.of(length) {
            votes.forget_most();
            failed += 1;
            continue;
        }
        votes.withdraw(&chain);
        let span = chain[0].x..=chain[chain.len() - 1].x;
        runs.retain(|run| !on_it(run) || !span.contains(&run.x));
        found.push(fitted(&chain));
    }
    found
}

/// The longest chain of runs without a larger gap.
fn longest_chain(runs: Vec<Run>, max_gap: u32) -> Vec<Run> {
    runs.chunk_by(|a, b| b.x - a.x <= max_gap)
        .max_by_key(|chain| chain.last().map_or(0, |last| last.x - chain[0].x))
        .unwrap_or_default()
        .to_vec()
}

/// The line of least squares through the runs.
fn fitted(runs: &[Run]) -> Line {
    let n = runs.len() as f32;
    let mean = |value: &dyn Fn(&Run) -> f32| runs.iter().map(value).sum::<f32>() / n;
    let (x_mean, y_mean) = (mean(&|run| run.x as f32), mean(&|run| run.middle()));
    let covariance = mean(&|run| (run.x as f32 - x_mean) * (run.middle() - y_mean));
    let slope = covariance / mean(&|run| (run.x as f32 - x_mean).powi(2)).max(1e-6);
    let mut lengths: Vec<u32> = runs.iter().map(|run| run.length).collect();
    lengths.sort_unstable();
    Line {
        slope,
        offset: y_mean - slope * x_mean,
        from: runs[0].x,
        to: runs[runs.len() - 1].x,
        thickness: lengths[lengths.len() / 2],
    }
}

/// Removes the line from border to border, except where it is thicker than elsewhere.
fn erase(mask: &mut GrayImage, line: &Line) {
    let limit = MAX_ERASED.of(line.thickness) + 1;
    for run in runs(mask) {
        let reach = run.length as f32 / 2.0 + 1.5;
        if run.length <= limit && (run.middle() - line.at(run.x)).abs() <= reach {
            (run.top..run.top + run.length).for_each(|y| mask.put_pixel(run.x, y, Luma([0])));
        }
    }
}

/// Consecutive pixels of a column that are ink.
#[derive(Clone, Copy)]
struct Run {
    x: u32,
    top: u32,
    length: u32,
}

impl Run {
    fn middle(self) -> f32 {
        self.top as f32 + (self.length - 1) as f32 / 2.0
    }
}

/// A Hough transform: the number of runs on each line, by its slope and its offset. imageproc's has no lines between two
/// whole degrees, which are seven pixels apart at a picture's other end.
struct Votes {
    /// The difference between the slopes of a row and the next.
    step: f32,
    /// The number of slopes upwards, and of those downwards.
    slopes: i32,
    /// Added to an offset, it gives the number of its cell.
    margin: f32,
    /// A row for each slope, a cell for each offset.
    rows: Vec<Vec<u16>>,
    /// The largest sum of two neighbouring cells of each row, and the first cell's number.
    most: Vec<(u16, usize)>,
}

impl Votes {
    /// Counts the votes of runs in a mask of this size.
    fn of(runs: &[Run], width: u32, height: u32) -> Self {
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

    /// Changes the votes for every line through the runs.
    fn count(&mut self, runs: &[Run], change: impl Fn(&mut u16)) {
        for number in 0..self.rows.len() {
            let slope = self.slope(number);
            for run in runs {
                let cell = (run.middle() - slope * run.x as f32 + self.margin) as usize;
                change(&mut self.rows[number][cell]);
            }
            self.find_most(number);
        }
    }

    fn slope(&self, number: usize) -> f32 {
        self.step * (number as i32 - self.slopes) as f32
    }

    fn find_most(&mut self, number: usize) {
        let pairs = self.rows[number].windows(2).map(|pair| pair[0] + pair[1]);
        self.most[number] = pairs.zip(0..).max_by_key(|(count, _)| *count).unwrap_or_default();
    }

    /// The line with the most votes: their number, the row's and the cell's.
    fn place_of_most(&self) -> (u16, usize, usize) {
        let places = self.most.iter().zip(0..).map(|((count, cell), row)| (*count, row, *cell));
        places.max_by_key(|(count, ..)| *count).expect("one of the slopes is 0")
    }

    /// The line with the most votes: their number, its slope and its offset.
    fn most(&self) -> (u32, f32, f32) {
        let (count, row, cell) = self.place_of_most();
        (u32::from(count), self.slope(row), cell as f32 - self.margin + 1.0)
    }

    /// Removes all votes for that line.
    fn forget_most(&mut self) {
        let (_, row, cell) = self.place_of_most();
        self.rows[row][cell..cell + 2].fill(0);
        self.find_most(row);
    }

    /// Removes the votes of runs that were found to be a line.
    fn withdraw(&mut self, runs: &[Run]) {
        self.count(runs, |vote| *vote = vote.saturating_sub(1));
    }
}

/// All runs of a mask, column by column.
fn runs(mask: &GrayImage) -> Vec<Run> {
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

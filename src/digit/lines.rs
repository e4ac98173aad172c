//! Lines that are printed on paper, a grid's, ruled ones, a frame's, found and wiped out of what is darker than the paper.
//!
//! A line is thin, straight, and goes on where a stroke of a digit would end: to the picture's border, or beside others of
//! its kind. Where a stroke crosses it, it is thicker than elsewhere, and stays.

use image::{GrayImage, Luma, imageops};

use super::hough::{Run, Votes, runs};

/// After so many that were none, there are no lines.
const MAX_FAILED: usize = 40;

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

    /// How many of its ends are at the border of the picture.
    fn ends_outside(&self, mask: &GrayImage) -> usize {
        let near = |value: f32, end: u32| value < 0.03 * end as f32 || value > 0.97 * end as f32;
        let is_outside = |x: &u32| near(*x as f32, mask.width()) || near(self.at(*x), mask.height());
        [self.from, self.to].iter().filter(|x| is_outside(x)).count()
    }

    /// Whether it crosses the picture, or comes from outside and is no single stroke.
    fn leaves(&self, mask: &GrayImage, lines: &[Line]) -> bool {
        match self.ends_outside(mask) {
            0 => false,
            1 => self.is_wide(mask) || lines.iter().filter(|line| line.is_parallel_to(self)).count() > 1,
            _ => true,
        }
    }

    /// Whether it is longer than a digit's strokes are.
    fn is_wide(&self, mask: &GrayImage) -> bool {
        self.length() > mask.width() * 3 / 5
    }

    fn is_parallel_to(&self, other: &Line) -> bool {
        (self.slope - other.slope).abs() < 0.04
    }
}

/// Wipes lines out of the mask.
pub(super) fn wipe_lines(mask: &mut GrayImage) {
    let turned = imageops::rotate90(mask);
    let (level, upright) = (lines(mask), lines(&turned));
    let (level_kind, upright_kind) = (most_alike(&level), most_alike(&upright));
    for line in &level {
        let is_ruled = level_kind > 2 || level_kind.min(upright_kind) > 1;
        if line.leaves(mask, &level) || line.is_wide(mask) || (is_ruled && alike(line, &level) == level_kind)
        {
            wipe(mask, line);
        }
    }
    let mut turned_back = imageops::rotate90(mask);
    for line in &upright {
        // Three upright strokes may be of three digits, so it takes a grid or a frame.
        let is_ruled = level_kind.min(upright_kind) > 1;
        if line.leaves(&turned, &upright) || (is_ruled && alike(line, &upright) == upright_kind) {
            wipe(&mut turned_back, line);
        }
    }
    *mask = imageops::rotate270(&turned_back);
}

/// How many lines there are of the kind that there is most of.
fn most_alike(lines: &[Line]) -> usize {
    lines.iter().map(|line| alike(line, lines)).max().unwrap_or(0)
}

/// How many lines are parallel to it and about as long, itself included; none if it is short among its parallels.
fn alike(line: &Line, lines: &[Line]) -> usize {
    let parallel = || lines.iter().filter(|other| line.is_parallel_to(other));
    let longest = parallel().map(Line::length).max().unwrap_or(0);
    let is_long = |line: &Line| line.length() * 10 >= longest * 7;
    if is_long(line) { parallel().filter(|other| is_long(other)).count() } else { 0 }
}

/// Lines that are more level than upright.
fn lines(mask: &GrayImage) -> Vec<Line> {
    let (width, height) = mask.dimensions();
    let thickest = (width.max(height) / 70).max(3);
    let mut runs = runs(mask);
    runs.retain(|run| run.length <= thickest);
    // Lines leave fewer; to look for any in a texture takes long.
    if runs.len() > 60 * width as usize {
        return vec![];
    }
    let shortest = (width * 3 / 10).max(12);
    let mut votes = Votes::of(&runs, width, height);
    let (mut found, mut failed) = (vec![], 0);
    while failed < MAX_FAILED {
        let (count, slope, offset) = votes.most();
        if count < shortest * 6 / 10 {
            break;
        }
        let on_it = |run: &Run| (run.middle() - offset - slope * run.x as f32).abs() <= 1.6;
        let chain = longest_chain(runs.iter().copied().filter(on_it).collect(), width / 16);
        let length = chain.last().map_or(0, |last| last.x - chain[0].x + 1);
        if length < shortest || (chain.len() as u32) < length * 6 / 10 {
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

/// The longest piece of a line without a gap larger than this.
fn longest_chain(runs: Vec<Run>, gap: u32) -> Vec<Run> {
    runs.chunk_by(|a, b| b.x - a.x <= gap.max(3))
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

/// Wipes out what of the line is no thicker than it is elsewhere, from border to border.
fn wipe(mask: &mut GrayImage, line: &Line) {
    let limit = line.thickness * 3 / 2 + 1;
    for run in runs(mask) {
        let reach = run.length as f32 / 2.0 + 1.5;
        if run.length <= limit && (run.middle() - line.at(run.x)).abs() <= reach {
            (run.top..run.top + run.length).for_each(|y| mask.put_pixel(run.x, y, Luma([0])));
        }
    }
}

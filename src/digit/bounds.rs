//! The smallest upright box around something in a picture.

/// From `left` to before `right`, from `top` to before `bottom`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
}

impl Bounds {
    /// Around nothing.
    pub const EMPTY: Self = Self { left: u32::MAX, top: u32::MAX, right: 0, bottom: 0 };

    pub fn width(&self) -> u32 {
        self.right - self.left
    }

    pub fn height(&self) -> u32 {
        self.bottom - self.top
    }

    /// The longer side.
    pub fn size(&self) -> u32 {
        self.width().max(self.height())
    }

    /// Around both.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// With so many pixels more on each side, as far as the picture has them.
    pub fn widened(&self, by: u32, width: u32, height: u32) -> Self {
        Self {
            left: self.left.saturating_sub(by),
            top: self.top.saturating_sub(by),
            right: (self.right + by).min(width),
            bottom: (self.bottom + by).min(height),
        }
    }

    pub fn is_within(&self, outer: &Self) -> bool {
        self.left > outer.left
            && self.top > outer.top
            && self.right < outer.right
            && self.bottom < outer.bottom
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        let (across, down) = self.gaps(other);
        across < 0 && down < 0
    }

    /// How far they are apart, across and down; negative, how far they overlap.
    pub fn gaps(&self, other: &Self) -> (i64, i64) {
        let gap = |start: u32, end: u32| i64::from(start) - i64::from(end);
        (
            gap(self.left.max(other.left), self.right.min(other.right)),
            gap(self.top.max(other.top), self.bottom.min(other.bottom)),
        )
    }
}

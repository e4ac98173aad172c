//! `--seeds` and `--shard`.

use std::str::FromStr;

/// More runs than a machine trains in years.
const MAX_SEEDS: u64 = 1_000_000;

/// What `--seeds` says, as text `0..99` or `1,2,5..9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Vec<u64>);

impl Seeds {
    /// Each seed once, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || format!("must be seeds such as 0..99 or 1,2,5..9, {MAX_SEEDS} at most");
        let number = |text: &str| {
            let number: u64 = text.parse().ok()?;
            (number.to_string() == text).then_some(number)
        };
        let mut seeds = vec![];
        for part in text.split(',') {
            let (from, to) = part.split_once("..").unwrap_or((part, part));
            let (from, to) = number(from).zip(number(to)).ok_or_else(rule)?;
            if to < from || to - from >= MAX_SEEDS || seeds.len() as u64 + (to - from) >= MAX_SEEDS {
                return Err(rule());
            }
            seeds.extend(from..=to);
        }
        let mut seen = std::collections::HashSet::new();
        seeds.retain(|seed| seen.insert(*seed));
        Ok(Self(seeds))
    }
}

/// What `--shard` says, as text `3/10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: usize,
    pub count: usize,
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |(index, count): (&str, &str)| {
            let [index, count] = [index.parse().ok()?, count.parse().ok()?];
            (index < count).then_some(Self { index, count })
        };
        text.split_once('/').and_then(parse).ok_or("must be a part and their number, from 0/10 to 9/10")
    }
}

#[cfg(test)]
mod tests {
    use super::{Seeds, Shard};

    #[test]
    fn seeds_are_ranges_and_numbers_each_once() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.iter().collect::<Vec<_>>());
        assert_eq!(seeds("0..3"), Ok(vec![0, 1, 2, 3]));
        assert_eq!(seeds("7,2..4,3,7"), Ok(vec![7, 2, 3, 4]));
        assert_eq!(seeds("18446744073709551615"), Ok(vec![u64::MAX]));
        for text in
            ["", "x", "4..2", "1..", "..1", "1,,2", "-1", "+1", "01", "0..1000000", "0..18446744073709551615"]
        {
            assert!(seeds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_shard_is_one_of_so_many() {
        assert_eq!("3/10".parse(), Ok(Shard { index: 3, count: 10 }));
        for text in ["", "3", "10/10", "0/0", "-1/2", "1/x"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}

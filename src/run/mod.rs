//! A training run: its options, its device, where it starts and how it ends. `run.json` records them.

mod against;
mod device;
mod error;
mod options;
mod run_json;
mod start;

pub use against::{Remedy, Requirement, against};
pub use device::{DeviceOption, GeneratorOption, NoDevice, resolve};
pub use error::Error;
pub use options::{
    AT_LEAST_ONE, AT_LEAST_ZERO, FRACTION, LEARNING_RATE, NAME, Rule, RunOptions, SEED, THREADS,
    TrainOptions, Vary,
};
pub use run_json::{Changed, End, Environment, Outcome, Run, RunJson, write_of_reproduce};
pub use start::{Earlier, Lock, Start};

/// Implements `FromStr`, and serde's traits by way of the text. Parsing picks the candidate that is displayed as the given
/// text, so only `Display` spells the names, and numbers such as +1 and 01 are refused.
macro_rules! as_text {
    ($type:ty, $rule:literal, |$text:pat_param| $candidates:expr) => {
        impl std::str::FromStr for $type {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let $text = text;
                $candidates.into_iter().find(|value| value.to_string() == text).ok_or($rule)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use as_text;

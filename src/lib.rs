#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod chart;
pub mod cli;
pub mod compare;
pub mod digit;
pub mod islp;
pub mod lightning;
pub mod notebook;
pub mod torch;
pub mod torchinfo;
pub mod torchvision;
pub mod util;

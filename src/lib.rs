#![doc = include_str!("../README.md")]
#![deny(unsafe_code)] // torch::cuda has the one exception
#![warn(missing_docs)]

pub mod cli;
pub mod compare;
pub mod digit;
pub mod figure;
pub mod islp;
pub mod lightning;
pub mod notebook;
pub mod torch;
pub mod torchinfo;
pub mod torchvision;
pub mod util;

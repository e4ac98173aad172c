//! The lab: its two models, their weights, and what its cells print.

pub mod models;
pub mod print;
pub mod weights;

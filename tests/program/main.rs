//! The program from the outside, as people run it.

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod data_sets;
mod doctor;
mod file_systems;
mod going_on;
mod handover;
mod interruption;
mod options;
mod paths;
mod plot;
mod predict;
mod progress;
mod report;
mod reproduce;
mod runs;
mod study;
mod train;
mod vary;

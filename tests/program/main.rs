//! The program from the outside, as people run it.

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod data_sets;
mod doctor;
mod file_systems;
mod handover;
mod paths;
mod plot;
mod predict;
mod report;
mod reproduce;
mod resume;
mod stops;
mod study;
mod train;

//! The program from the outside, as people run it, and the checkout around it: its rooms, scripts, documents and pages.

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod data_sets;
mod doctor;
mod documents;
mod file_systems;
mod handover;
mod house;
mod pages;
mod paths;
mod plot;
mod predict;
mod report;
mod report_of_several;
mod reproduce;
mod resume;
mod scripts;
mod stops;
mod study;
mod study_of_few;
mod train;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps the target folder to one test, which copies from it or builds in it.
fn target_folder() -> MutexGuard<'static, ()> {
    static TARGET_FOLDER: Mutex<()> = Mutex::new(());
    TARGET_FOLDER.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The checkout around the program: its rooms, scripts, documents and pages.

#[path = "../common/mod.rs"]
mod common;
mod documents;
mod house;
mod pages;
mod scripts;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps the target folder to one test, which copies from it or builds in it.
fn target_folder() -> MutexGuard<'static, ()> {
    static TARGET_FOLDER: Mutex<()> = Mutex::new(());
    TARGET_FOLDER.lock().unwrap_or_else(PoisonError::into_inner)
}

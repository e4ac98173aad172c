//! The checkout around the program: its rooms, scripts, documents and pages.

#[path = "../common/mod.rs"]
mod common;
mod documents;
mod house;
mod pages;
mod scripts;

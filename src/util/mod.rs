//! Files written whole or not at all, paths as text, and text fit for a terminal.

pub mod file;
pub mod json;
pub mod path;
pub mod png;
pub mod text;

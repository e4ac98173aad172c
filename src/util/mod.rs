//! Files written atomically, paths as text, names with a `*`, JSON as Python writes it, and text that is safe for a terminal.

pub mod file;
pub mod json;
pub mod path;
pub mod pattern;
pub mod png;
pub mod text;

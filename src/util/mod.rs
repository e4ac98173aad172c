//! Files written whole or not at all, and text fit for a terminal.

pub mod file;
pub mod text;

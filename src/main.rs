//! The program `islp-mnist`.
#![forbid(unsafe_code)]

mod cli;

fn main() {
    cli::main()
}

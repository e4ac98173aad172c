//! The program `islp-mnist`.
#![forbid(unsafe_code)]

fn main() {
    islp_mnist::cli::main()
}

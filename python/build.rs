//! The compiled part finds libtorch beside the package in site-packages, if `import torch` has not loaded it before.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-Wl,-rpath,$ORIGIN/../torch/lib");
}

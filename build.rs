//! Lets every binary of this package find libtorch without LD_LIBRARY_PATH.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys says where it found libtorch, but only to the packages that name it as a dependency.
    let Ok(lib) = env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!(
            "cargo::error=torch-sys found no libtorch: run scripts/reproduce.sh, which fetches it, or set LIBTORCH"
        );
        return;
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    // DT_RPATH rather than DT_RUNPATH: a stray LD_LIBRARY_PATH must not put another libtorch in place of the one
    // that was compiled against. What libtorch itself loads it finds by its own $ORIGIN rpath.
    println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags");
}

#!/usr/bin/env bash
# All checks: fetches what is missing, then formatting, clippy, documentation and all tests.
#
#   scripts/test.sh [--quick] [--cuda]
#
# --quick leaves the Python reference (about 3 GB) out, and with it the tests that need it, which are then listed as
# ignored.
# --cuda fetches libtorch with CUDA even where no NVIDIA driver is found.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"

[[ ! -v data_dir && ! -v output_dir ]] || options+=(--data-dir/--output-dir)
case ${options[*]} in
'')
  set_up reference libtorch mnist
  tests=(--include-ignored)
  ;;
--quick)
  set_up libtorch mnist
  tests=()
  ;;
*) failure=2 die "${options[*]}: not known here, the options are --quick and --cuda" ;;
esac

cd -- "$root"
cargo fmt --check
cargo clippy --release --all-targets -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --release --no-deps
exec cargo test --release -- "${tests[@]}"

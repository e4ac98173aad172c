#!/usr/bin/env bash
# Runs all checks: fetches what is missing, then checks the shell scripts' syntax, formatting, clippy and documentation, then
# runs all tests.
#
#   scripts/test.sh [--quick | --lint | --pages] [--cuda]
#
# --quick runs only the tests that take less than two seconds each, without the Python reference (about 3 GB).
# --lint checks only the shell scripts' syntax, formatting, clippy and documentation, and --pages only the HTML pages.
# --cuda fetches libtorch with CUDA even without an NVIDIA driver.
#
# Tests of a GPU need an NVIDIA driver, tests that mount a disk need root, tests of file systems need strace, tests of HTML
# pages need Chromium, Java and Node.js 20. Where these are missing, the tests are listed at the end as ignored.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"

[[ ! -v data_dir && ! -v output_dir ]] || options+=(--data-dir/--output-dir)

# The tests run at the same time. An OpenMP thread that spins while it waits would take a core from another test.
export OMP_WAIT_POLICY=passive

lint() {
  git ls-files -z -- '*.sh' '*.sbatch' .ci/run | xargs -0 -n 1 bash -n
  cargo fmt --check
  cargo clippy --release --all-targets -- -D warnings
  # The library alone, as other programs use it.
  cargo clippy --release --lib --no-default-features -- -D warnings
  RUSTDOCFLAGS='-D warnings' cargo doc --release --no-deps
}

# cannot PART-OF-THE-NAMES WHAT: skips the tests whose names have that part, and says so.
cannot() {
  impossible+=("$1")
  say "skipping the tests that $2"
}

# In a container, root may not be allowed to mount.
may_mount() { [[ $(id -u) == 0 ]] && unshare --mount true 2>/dev/null; }
may_trace() { strace -qq -o /dev/null true 2>/dev/null; }
may_open_pages() { [[ ! $(pages_lack) ]]; }

case ${options[*]} in
'')
  set_up reference libtorch mnist
  if may_open_pages; then set_up pages; fi
  cd -- "$root"
  lint
  impossible=()
  may_mount || cannot needs_root "mount a disk, which root may not do here"
  may_trace || cannot under_strace "restrict the file system, which needs strace"
  nvidia_driver_is_there || cannot on_a_gpu "need an NVIDIA driver"
  may_open_pages || cannot in_chromium "open pages, which needs $(pages_lack)"
  # A test that waits, such as for Python, leaves its core to others.
  RUST_TEST_THREADS=$(($(nproc) + 1)) cargo test --release -- --include-ignored "${impossible[@]/#/--skip=}"
  # Lists them as ignored.
  if ((${#impossible[@]})); then cargo test --release --tests -- "${impossible[@]}"; fi
  ;;
--quick)
  set_up libtorch mnist
  cd -- "$root"
  lint
  cargo test --release
  ;;
--lint)
  set_up libtorch
  cd -- "$root"
  lint
  ;;
--pages)
  may_open_pages || die "the tests of pages need $(pages_lack)"
  set_up libtorch mnist pages
  cd -- "$root"
  cargo test --release --test program -- --ignored in_chromium
  ;;
*) failure=2 die "${options[*]}: unknown option; the options are --quick, --lint, --pages and --cuda" ;;
esac

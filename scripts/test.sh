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

# run_where_possible PREDICATE TEST-PROGRAM PART-OF-THE-NAMES: runs the tests, or lists them as ignored if PREDICATE fails.
run_where_possible() {
  local ignored=()
  if "$1"; then ignored=(--ignored); fi
  cargo test --release --test "$2" -- "${ignored[@]}" "$3"
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
  cargo test --release -- --include-ignored --skip on_a_gpu --skip needs_root --skip under_strace --skip in_chromium
  run_where_possible may_mount program needs_root
  may_trace || say "skipping the tests of restricted file systems, which need strace"
  run_where_possible may_trace program under_strace
  run_where_possible may_trace checkout under_strace
  run_where_possible nvidia_driver_is_there cuda on_a_gpu
  may_open_pages || say "skipping the tests of pages, which need $(pages_lack)"
  run_where_possible may_open_pages checkout in_chromium
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
  cargo test --release --test checkout -- --ignored in_chromium
  ;;
*) failure=2 die "${options[*]}: unknown option; the options are --quick, --lint, --pages and --cuda" ;;
esac

#!/usr/bin/env bash
# All checks: fetches what is missing, then formatting, clippy, documentation and all tests.
#
#   scripts/test.sh [--quick | --lint | --pages] [--cuda]
#
# --quick runs only the tests that take less than two seconds each. It leaves the Python reference (about 3 GB) out.
# --lint checks formatting, clippy and documentation, and --pages the HTML pages, and nothing else.
# --cuda fetches libtorch with CUDA even where no NVIDIA driver is found.
#
# Tests of a GPU run where there is an NVIDIA driver, those that need root where they are root, those of file systems where
# there is strace, those of HTML pages where there are Chromium, Java and Node.js 20. Elsewhere they are listed at the end
# as ignored.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"

[[ ! -v data_dir && ! -v output_dir ]] || options+=(--data-dir/--output-dir)

lint() {
  cargo fmt --check
  cargo clippy --release --all-targets -- -D warnings
  # The library alone, as other programs take it.
  cargo clippy --release --lib --no-default-features -- -D warnings
  RUSTDOCFLAGS='-D warnings' cargo doc --release --no-deps
}

# run_where_possible PREDICATE TEST-PROGRAM PART-OF-THE-NAMES: lists the tests as ignored where they can't run.
run_where_possible() {
  local ignored=()
  if "$1"; then ignored=(--ignored); fi
  cargo test --release --test "$2" -- "${ignored[@]}" "$3"
}

# In a container root need not be allowed to mount.
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
  may_trace || say "the tests of file systems that can do less are left out, they need strace"
  run_where_possible may_trace program under_strace
  run_where_possible may_trace checkout under_strace
  run_where_possible nvidia_driver_is_there cuda on_a_gpu
  may_open_pages || say "the tests of pages are left out, they need $(pages_lack)"
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
*) failure=2 die "${options[*]}: not known here, the options are --quick, --lint, --pages and --cuda" ;;
esac

#!/usr/bin/env bash
# Runs the tests that try to break the program, which takes some minutes, and writes the results into docs/robustness.md.
#
#   scripts/robustness.sh

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"
[[ ! ${options[*]} && ! -v data_dir && ! -v output_dir ]] || failure=2 die "this script takes no options"

set_up libtorch mnist
say "building and running the tests, which takes some minutes"
cd -- "$root"
# Each kind of damage or interruption writes its row into this folder, see tests/common/mod.rs.
rows=$target/tmp/robustness page=docs/robustness.md
rm -rf -- "$rows"
run cargo test --release --test library --test program -- --include-ignored --skip needs_root bad_input:: digit:: stops:: resume:: ||
  die "a test failed, see above; $page is unchanged"

table() {
  printf '\n| what | tried | as expected |\n|---|---|---|\n'
  LC_ALL=C sort -- "$rows"/*.md
  echo
}
{
  sed '/<!-- tries/q' "$page"
  table
  sed -n '/<!-- end of tries/,$p' "$page"
} >"$page.new"
mv -- "$page.new" "$page"

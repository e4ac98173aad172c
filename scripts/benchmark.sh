#!/usr/bin/env bash
# How much faster than Python: notebook and program in turn, five times, whole runs with start-up; the medians and
# their ratio.
#
#   scripts/benchmark.sh [OPTIONS]
#
# OPTIONS are both sides', such as --epochs 10. Close other programs first.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"
if [[ -v data_dir ]]; then set_up libtorch reference; else set_up libtorch reference mnist; fi
build

runs=5
output=$(mktemp -d)
trap 'stop || true; rm -rf -- "$output"' EXIT

# timed COMMAND... prints the milliseconds it takes.
timed() {
  local start=${EPOCHREALTIME/[.,]/}
  "$@" --data-dir "${data_dir-$root/data}" --output-dir "$output" "${options[@]}" >/dev/null 2>"$output/log" ||
    die "a run failed: $(tail -n 1 -- "$output/log")"
  echo $(((${EPOCHREALTIME/[.,]/} - start) / 1000))
}

median() { printf '%s\n' "$@" | sort -n | sed -n "$(((runs + 1) / 2))p"; }

for ((run = 1; run <= runs; run++)); do
  rust+=("$(timed "$program" reproduce --device cpu)")
  python_+=("$(CUDA_VISIBLE_DEVICES='' timed "$venv/bin/python" -I -X utf8 "$root/scripts/notebook.py")")
  say "run $run of $runs: Rust ${rust[-1]} ms, Python ${python_[-1]} ms"
done
awk -v rust="$(median "${rust[@]}")" -v python="$(median "${python_[@]}")" \
  'BEGIN { printf "medians: Rust %.1f s, Python %.1f s; ratio %.1f\n", rust / 1000, python / 1000, python / rust }'

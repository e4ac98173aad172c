#!/usr/bin/env bash
# How fast, and how near to the matrix products' own time: this program, the notebook, a hand-written PyTorch loop and
# the matrix products alone, in turn, so that whatever else the machine does falls on all of them alike.
#
#   scripts/bench.sh [--runs N] [--epochs N] [--output-dir DIR]
#
# N rounds (default: 5) of so many epochs (default: 2). Prints a table with minimum, median, maximum and ratios, and
# writes it as benchmark.csv, with the chart benchmark.png, to DIR (default: output/benchmark). Five to fifteen
# minutes; close other programs first.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"
if [[ -v data_dir ]]; then set_up libtorch reference; else set_up libtorch reference mnist; fi
build
# Lightning would take a GPU.
CUDA_VISIBLE_DEVICES='' run "$venv/bin/python" -I -X utf8 "$root/scripts/bench.py" --program "$program" \
  --data-dir "${data_dir-$root/data}" --output-dir "${output_dir-$root/output/benchmark}" "${options[@]}"

#!/usr/bin/env bash
# How fast, and how near to the matrix products' own time: this program, the notebook, a hand-written PyTorch loop and
# the matrix products alone, in turn, so that whatever else the machine does falls on all of them alike.
#
#   scripts/bench.sh [--runs N] [--epochs N] [--peers] [--output-dir DIR]
#
# N rounds (default: 5) of so many epochs (default: 2). Prints a table with minimum, median, maximum and ratios, and
# writes it as benchmark.csv, with the chart benchmark.png, to DIR (default: output/benchmark). Five to fifteen
# minutes; close other programs first. It takes Python 3.11 and 5.5 GB of disk for the Python reference in .venv.
#
# --peers also measures what one might take instead, JAX and torch.compile, and the whole job of 30 epochs from start to
# exit. It fetches JAX into .peers/ (0.5 GB) and takes a quarter of an hour more, and torch.compile takes a C++ compiler
# and Python's headers.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"
parts=(libtorch reference)
[[ -v data_dir ]] || parts+=(mnist)
[[ " ${options[*]} " != *' --peers '* ]] || parts+=(peers)
set_up "${parts[@]}"
build
say "measuring, which takes five to fifteen minutes, with --peers half an hour"
# Lightning would take a GPU.
CUDA_VISIBLE_DEVICES='' run "$venv/bin/python" -I -X utf8 "$root/scripts/bench.py" --program "$program" --jax "$peers/bin/python" \
  --data-dir="${data_dir-$root/data}" --output-dir="${output_dir-$root/output/benchmark}" "${options[@]}"

#!/usr/bin/env bash
# Measures the speed of this program, the notebook, a hand-written PyTorch loop and the matrix products alone. They run
# alternately, so that other load on the machine affects all of them alike.
#
#   scripts/bench.sh [--runs N] [--epochs N] [--quick] [--peers] [--output-dir DIR]
#
# --runs is the number of rounds (default: 5), --epochs the epochs of each (default: 2). Prints a table with minimum,
# median, maximum and ratios, and writes it as benchmark.csv, with the chart benchmark.png, to DIR (default:
# output/benchmark). Takes five to fifteen minutes; close other programs first. It needs Python 3.11 and 5.5 GB of disk for
# the Python reference in .venv.
#
# --quick tries the script in a minute: one round of one epoch, and short runs in place of long ones. Its figures mean little.
#
# --peers also measures the alternatives JAX and torch.compile, and the whole job of 30 epochs from start to exit. It
# fetches JAX into .peers/ (0.5 GB) and takes a quarter of an hour longer; torch.compile needs a C++ compiler and Python's
# headers.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"
parts=(libtorch reference)
[[ -v data_dir ]] || parts+=(mnist)
[[ " ${options[*]} " != *' --peers '* ]] || parts+=(peers)
set_up "${parts[@]}"
build
if [[ " ${options[*]} " != *' --quick '* ]]; then
  say "measuring, which takes five to fifteen minutes, or half an hour with --peers"
fi
# Lightning would use a GPU.
CUDA_VISIBLE_DEVICES='' run "$venv/bin/python" -I -X utf8 "$root/scripts/bench.py" --program "$program" --jax "$peers/bin/python" \
  --data-dir="${data_dir-$root/data}" --output-dir="${output_dir-$root/output/benchmark}" "${options[@]}"

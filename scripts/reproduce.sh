#!/usr/bin/env bash
# The whole notebook with one command: fetches what is missing, builds, runs `islp-mnist reproduce --report [OPTIONS]`.
# At its end stderr names the page of both runs.
#
# It takes Rust, a C++ compiler, Python 3.10 with pip and 2 GB of disk. At the first time it fetches libtorch and MNIST and
# builds the program, which takes some minutes each; then the notebook takes half a minute.
#
#   scripts/reproduce.sh [--cuda] [OPTIONS]
#
# --cuda fetches libtorch with CUDA even where no NVIDIA driver is found. The other options are the program's
# (`islp-mnist reproduce --help`). A --data-dir or --output-dir counts from the current directory; without them
# data/ and output/ are the checkout's. stdout is the program's alone.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"

# Data of your own is not fetched; the program checks it.
if [[ -v data_dir ]]; then set_up libtorch; else set_up libtorch mnist; fi
build

if [[ $PWD == "$root" ]]; then default=''; else default=$root/; fi
exec "$program" reproduce --report --data-dir="${data_dir-${default}data}" --output-dir="${output_dir-${default}output}" \
  "${options[@]}"

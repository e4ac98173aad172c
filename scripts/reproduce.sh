#!/usr/bin/env bash
# Runs the whole notebook with one command: fetches what is missing, builds the program and runs
# `islp-mnist reproduce --report [OPTIONS]`. At the end, stderr names the page of both runs.
#
# It needs Rust, a C++ compiler, Python 3.10 with pip and 2 GB of disk. The first time it fetches libtorch and MNIST and
# builds the program, which takes some minutes; the notebook then takes half a minute.
#
#   scripts/reproduce.sh [--cuda] [OPTIONS]
#
# --cuda fetches libtorch with CUDA even without an NVIDIA driver. The other options are the program's
# (`islp-mnist reproduce --help`). --data-dir and --output-dir are relative to the current directory; their defaults are the
# checkout's data/ and output/. Only the program prints to stdout.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"

# The program checks data of your own; only MNIST is fetched.
if [[ -v data_dir ]]; then set_up libtorch; else set_up libtorch mnist; fi
build

if [[ $PWD == "$root" ]]; then default=''; else default=$root/; fi
exec "$program" reproduce --report --data-dir="${data_dir-${default}data}" --output-dir="${output_dir-${default}output}" \
  "${options[@]}"

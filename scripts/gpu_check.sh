#!/usr/bin/env bash
# Checks all claims of this project about GPUs on yours, and writes a report to send in.
#
#   scripts/gpu_check.sh [--epochs N] [--runs N] [--output-dir DIR] [--rehearse]
#
# The checks are: doctor; the tests that need a GPU; parity with Python on the GPU over 2 epochs and over --epochs (default:
# 30); the GPU against the CPU; a run that is killed and resumed; seconds per epoch against Python in --runs runs of each
# (default: 5); peak memory. They take some ten minutes, and the first time need Python 3.11 and 12 GB of disk.
#
# The report is DIR/report.md (DIR's default: output/gpu), with the log of every step beside it; DIR must be empty or new.
# Exit code: 0 if all checks passed, 1 if one failed, 2 if there is no NVIDIA GPU or an option is wrong.
#
# --rehearse runs all checks on the CPU instead, with dropout drawing from CUDA's generator. It tests this script, not a
# GPU.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
rehearse='' arguments=()
for argument; do
  if [[ $argument == --rehearse ]]; then rehearse=1; else arguments+=("$argument"); fi
done
read_options "${arguments[@]}"
for ((i = 0; i < ${#options[@]}; i += 2)); do
  [[ ${options[i]} =~ ^--(epochs|runs)$ && ${options[i + 1]-} =~ ^[1-9][0-9]*$ ]] ||
    failure=2 die "${options[i]}: unknown option; the options are --epochs N, --runs N, --output-dir DIR and --rehearse"
done
if [[ ! $rehearse ]]; then
  nothing='so there is nothing to check; --rehearse tries this script on the CPU'
  nvidia_driver_is_there || failure=2 die "no NVIDIA driver found, $nothing"
  # A container may have the driver without a GPU.
  if command -v nvidia-smi >/dev/null && [[ $(nvidia-smi -L 2>/dev/null) != *GPU* ]]; then
    failure=2 die "nvidia-smi lists no GPU, $nothing"
  fi
  cuda=1
fi

if [[ -v data_dir ]]; then set_up reference libtorch; else set_up reference libtorch mnist; fi
build
say "the checks take some ten minutes"
run "$venv/bin/python" -I -X utf8 "$root/scripts/gpu_check.py" --program "$program" --data-dir="${data_dir-$root/data}" \
  --output-dir="${output_dir-$root/output/gpu}" ${rehearse:+--rehearse} "${options[@]}"

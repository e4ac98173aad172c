#!/usr/bin/env bash
# Checks all claims of this project about GPUs on yours, and writes a report to send in.
#
#   scripts/gpu_check.sh [--epochs N] [--runs N] [--output-dir DIR] [--rehearse]
#   scripts/gpu_check.sh --pack FOLDER [--torch VERSION] [--python VERSION] [--packages FILE]
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
#
# --pack makes a folder of at most 60 MB for a machine with a GPU that has Python with torch, but no network, Rust or compiler,
# such as a cluster's node. Its run.sh does the checks there and takes their options; its report/ is what to send in. The
# pack is for torch 2.13.0 and for the Python of .venv, unless --torch (such as 2.11.0) and --python (such as 3.12) say
# otherwise. FILE is what `python3 -m pip list` prints there; without it the pack is for a Python that also has numpy, scipy,
# pandas, scikit-learn and matplotlib.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

# build_for VERSION: builds the program for another libtorch, from a copy of the sources with the matching release of tch. Sets
# `source` to the copy, `torch`, `libtorch` and `program`.
build_for() {
  local tch torchvision
  torch=$1
  case $torch in
  2.11.*) tch=0.24.0 torchvision=0.26 ;;
  2.12.*) tch=0.25.0 torchvision=0.27 ;;
  2.13.*) tch=0.26.0 torchvision=0.28 ;;
  esac
  source=$target/torch-$torch
  mkdir -p -- "$source"
  find "$source" -mindepth 1 -maxdepth 1 ! -name target ! -name .libtorch -exec rm -rf {} +
  (cd -- "$root" && cp -r --preserve=timestamps -- .cargo Cargo.toml Cargo.lock README.md benches build.rs examples python \
    scripts src templates tests "$source")
  # So that the program knows its commit, as a modified one.
  [[ ! -e $root/.git ]] || ln -s -- "$root/.git" "$source/.git"
  sed -i "s/^torch==.*/torch==$torch/; s/^torchvision==.*/torchvision==$torchvision.${torch##*.}/" "$source/scripts/requirements.txt"
  # The Python package is not built, and its pyo3-tch goes with another tch.
  sed -i "s/^\(tch\|torch-sys\) = .*/\1 = \"=$tch\"/; s/^members = .*/members = []/" "$source/Cargo.toml"
  libtorch=$source/.libtorch
  unset LIBTORCH LIBTORCH_INCLUDE LIBTORCH_LIB LIBTORCH_USE_PYTORCH
  set_up libtorch
  export LIBTORCH=$libtorch/torch CARGO_TARGET_DIR=$source/target
  program=$source/target/release/islp-mnist
  say "building the program for torch $torch, which takes some minutes the first time"
  run env --chdir "$source" cargo build --release || die "the build for torch $torch failed, see cargo's message above"
}

# Builds the tests that need a GPU, and prints their path.
cuda_tests() {
  ! is_pack || { echo "$root/program/cuda" && return; }
  cargo test --release --test cuda --no-run --message-format json-render-diagnostics | "$python" -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "cuda": print(message["executable"])'
}

# Prints the commit of the sources.
commit() {
  if is_pack; then
    sed -n 's/^ "commit": "\(.*\)".*/\1/p' "$root/pack.json"
  else
    git -C "$root" describe --always --dirty 2>/dev/null || echo unknown
  fi
}

make_pack() {
  ! is_pack || failure=2 die "--pack: not here, because this is a pack"
  [[ ! ${options[*]} ]] || failure=2 die "${options[0]}: not an option of --pack"
  [[ ! $rehearse$cuda && ! -v data_dir && ! -v output_dir ]] ||
    failure=2 die "--pack: takes only --torch, --python and --packages"
  [[ ! -e $pack || (-d $pack && ! $(ls -A -- "$pack")) ]] || failure=2 die "$pack is not empty: name another folder"
  [[ ! $packages || -f $packages ]] || failure=2 die "--packages $packages: no such file"
  [[ ! $python_there || $python_there =~ ^3\.(1[1-9]|[2-9][0-9])$ ]] ||
    failure=2 die "--python $python_there: must be 3.11 or a later version such as 3.12"
  [[ $torch_there =~ ^2\.1[123](\.[0-9]+)?$ ]] || failure=2 die "--torch $torch_there: must be a version of 2.11, 2.12 or 2.13"
  [[ $torch_there == *.*.* ]] || torch_there+=.0

  set_up reference mnist
  if [[ $torch_there == "$torch" ]]; then
    source=$root
    set_up libtorch
    build
  else
    build_for "$torch_there"
  fi
  local tests
  tests=$(cd -- "$source" && cuda_tests) || die "the tests could not be built, see cargo's message above"
  run "$venv/bin/python" -I -X utf8 "$root/scripts/gpu_pack.py" make --program "$program" --tests "$tests" --torch "$torch" \
    --python "${python_there:-$(wheel_python)}" --source "$source" --data "$raw" --pip "$python" --commit "$(commit)" \
    ${packages:+--packages="$packages"} -- "$pack"
}

rehearse='' pack='' torch_there='' python_there='' packages='' arguments=()
while (($#)); do
  case $1 in
  --rehearse) rehearse=1 ;;
  --pack | --torch | --python | --packages)
    [[ ${2-} ]] || failure=2 die "$1: needs a value after it"
    case $1 in
    --pack) pack=$2 ;;
    --torch) torch_there=$2 ;;
    --python) python_there=$2 ;;
    --packages) packages=$2 ;;
    esac
    shift
    ;;
  *) arguments+=("$1") ;;
  esac
  shift
done
read_options "${arguments[@]}"
if [[ $pack ]]; then
  : "${torch_there:=$torch}"
  make_pack
  exit
fi
[[ ! $torch_there$python_there$packages ]] || failure=2 die "--torch, --python and --packages: only together with --pack"
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

if is_pack; then "$python" "$root/scripts/gpu_pack.py" unpack "$root" || exit; fi
if [[ -v data_dir ]]; then set_up reference libtorch; else set_up reference libtorch mnist; fi
build
tests=$(cd -- "$root" && cuda_tests) || die "the tests could not be built, see cargo's message above"
default=output/gpu
! is_pack || default=report
say "the checks take some ten minutes"
run env "CARGO_BIN_EXE_islp-mnist=$program" "$venv/bin/python" -I -X utf8 "$root/scripts/gpu_check.py" --program "$program" \
  --tests "$tests" --commit "$(commit)" --data-dir="${data_dir-$root/data}" --output-dir="${output_dir-$root/$default}" \
  ${rehearse:+--rehearse} "${options[@]}"

#!/usr/bin/env bash
# Sets up JupyterLab with the Python package in .jupyter, and opens the notebooks.
#
#   scripts/notebooks.sh [ARGUMENT...]     opens JupyterLab, with these arguments of its own
#   scripts/notebooks.sh --check           executes the notebooks and compares what they print with what is stored in them
#   scripts/notebooks.sh --execute         executes them and stores what they print
#   scripts/notebooks.sh --rust ...        the same with the notebook in Rust; its kernel takes half an hour to set up
#
# Exit code: with --check 0 if all is the same, else 1.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
source scripts/setup.sh

read_options "$@"
notebooks=(notebooks/mnist.ipynb notebooks/beside.ipynb) parts=(libtorch mnist reference jupyter)
if [[ ${options[0]-} == --rust ]]; then
  options=("${options[@]:1}") notebooks+=(notebooks/mnist_rust.ipynb) parts+=(evcxr)
fi
require_compilers
set_up "${parts[@]}"
install_package
[[ ${parts[-1]} != evcxr ]] || install_kernel
case ${options[0]-} in
--check | --execute) execute_notebooks "${options[0]}" "${notebooks[@]}" ;;
*)
  jupyter_settings
  exec "$jupyter/bin/python" -m jupyterlab --notebook-dir=notebooks "${options[@]}"
  ;;
esac

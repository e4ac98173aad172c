#!/usr/bin/env bash
# Sets up JupyterLab with the Python package in .jupyter, and opens the notebooks.
#
#   scripts/notebooks.sh [ARGUMENT...]     opens JupyterLab, with these arguments of its own
#   scripts/notebooks.sh --check           executes the notebooks and compares what they print with what is stored in them
#   scripts/notebooks.sh --execute         executes them and stores what they print
#
# Exit code: with --check 0 if all is the same, else 1.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
source scripts/setup.sh

read_options "$@"
require_compilers
set_up libtorch mnist reference jupyter
install_package
case ${options[0]-} in
--check | --execute) execute_notebooks "${options[0]}" ;;
*)
  jupyter_settings
  exec "$jupyter/bin/python" -m jupyterlab --notebook-dir=notebooks "${options[@]}"
  ;;
esac

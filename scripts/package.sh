#!/usr/bin/env bash
# Checks the Python package: its types, its lints, its tests, and what the notebooks print.
#
#   scripts/package.sh --check
#
# Builds it as `pip install ./python` does, into .jupyter, and runs it there without cargo. Exit code: 0 if all is well, else 1.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
source scripts/setup.sh

read_options "$@"
[[ ${options[*]} == --check ]] || failure=2 die "${options[*]:-no option}: the only option is --check"
require_compilers
set_up libtorch mnist reference jupyter
install_package
cargo fmt --package islp-mnist-python --check
cargo clippy --release --package islp-mnist-python -- -D warnings
"$jupyter/bin/python" -m ruff check --no-cache python scripts/notebooks.py
(cd python && run "$jupyter/bin/python" -m mypy --cache-dir "$target/mypy")
# The installed package, not the sources beside the tests.
run "$jupyter/bin/python" -m pytest -q -p no:cacheprovider -W ignore python/tests
execute_notebooks --check notebooks/mnist.ipynb notebooks/beside.ipynb
# The Rust kernel takes too long to set up for each check; tests/program/documents.rs sees to it that the cells compile.
execute_notebooks --check-stored notebooks/mnist_rust.ipynb

"""What importing the package says, and its example."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def test_with_another_torch_every_name_is_an_import_error_that_says_which_it_needs():
    for name in "Trainer", "Generator":
        done = python("-c", f"import torch; torch.__version__ = '2.12.0+cpu'; from islp_mnist import {name}")
        expected = ("ImportError: islp_mnist is compiled for torch 2.13.0, and this environment has torch 2.12.0+cpu: "
                    "pip install torch==2.13.0")
        assert done.stderr.splitlines()[-1] == expected


def test_the_pure_python_parts_are_imported_without_the_compiled_one():
    done = python("-c", "import sys; import islp_mnist.trace, islp_mnist.checkpoint; print('islp_mnist._compiled' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_the_example_trains_the_same_in_rust_and_beside_lightning():
    done = python(str(EXAMPLES / "one_import.py"))
    assert done.returncode == 0, done.stderr
    # The example says it in a comment.
    assert done.stdout in (EXAMPLES / "one_import.py").read_text().replace("print(beside)     # ", ""), done.stdout

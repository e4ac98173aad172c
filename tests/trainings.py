"""Runs scripts repeatedly, each in a fork of a process that has imported torch and Lightning, which takes seconds.

Each line of stdin is a JSON array: a script of the checkout, the folder to run it in, and its options. Each line of
stdout is one too: the exit code, stdout and stderr. tests/common/python.rs uses it.
"""

import json
import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
from pathlib import Path

import ISLP.torch
import matplotlib.pyplot
import pandas
import pytorch_lightning
import torchvision

CHECKOUT = Path(__file__).parents[1]


def decode_once():
    """Makes each MNIST decode its images as soon as it is created, not again in every epoch, which would be half of the
    processor's work in a run of 30 epochs.

    The values are the same: an image and its label are all that `__getitem__` and ToTensor depend on, and a loader copies
    what it gets into a batch.
    """
    mnist = torchvision.datasets.MNIST
    create, decode = mnist.__init__, mnist.__getitem__

    def create_and_decode(self, *args, **kwargs):
        create(self, *args, **kwargs)
        # Here and not at first use, because then each of a loader's workers would decode all images.
        self.decoded = [decode(self, index) for index in range(len(self))]

    mnist.__init__, mnist.__getitem__ = create_and_decode, lambda self, index: self.decoded[index]


for line in sys.stdin:
    script, folder, *options = json.loads(line)
    script = str(CHECKOUT / script)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = [script, *options]
            exit_code = 1
            try:
                # Only in the notebook's 30 epochs. All other runs remain as they are, and are compared byte for byte too.
                if script == str(CHECKOUT / "scripts/notebook.py") and "--epochs" not in options:
                    decode_once()
                runpy.run_path(script, run_name="__main__")
                exit_code = 0
            except SystemExit as end:
                exit_code = end.code or 0
            except BaseException:
                traceback.print_exc()
            for worker in multiprocessing.active_children():
                worker.terminate()
            sys.stdout.flush()
            sys.stderr.flush()
            # Skips the interpreter's teardown of all imports, which takes a second.
            os._exit(exit_code)
        exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = [file.seek(0) or file.read().decode() for file in (out, err)]
    print(json.dumps([exit_code, *said]), flush=True)

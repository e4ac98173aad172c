"""Runs the cells of notebooks/mnist.ipynb without Jupyter and prints, as JSON, what is left of it: a draw of torch's generator
after each cell, what test returned, and the SHA-256 of both metrics.csv, of all parameters and of both optimizers' states.

    run_cells.py MODULE EPOCHS NUM_WORKERS

The Trainer is imported from MODULE. The cells write into the current folder; the data are in ../data beside it.
"""

import hashlib
import json
import sys
import warnings
from pathlib import Path

import matplotlib

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "mnist.ipynb"


def main(module: str, epochs: str, num_workers: str):
    warnings.filterwarnings("ignore")
    matplotlib.use("Agg")
    import torch

    scope: dict = {"__name__": "__main__"}
    left: dict = {"draws": {}}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"]).replace("from islp_mnist import Trainer", f"from {module} import Trainer")
        source = source.replace("max_epochs=30", f"max_epochs={epochs}")
        source = source.replace("num_workers=4", f"num_workers={num_workers}")
        name = cell["id"]
        if name.endswith("test"):
            left[name] = eval(source, scope)
        else:
            exec(compile(source, name, "exec"), scope)
        left["draws"][name] = torch.rand(3).tolist()
    assert scope["Trainer"].__module__.split(".")[0] == module, "the notebook imports another Trainer"
    for model in "mnist", "mlr":
        trainer, network = scope[f"{model}_trainer"], scope[f"{model}_module"]
        log = Path(scope[f"{model}_logger"].experiment.metrics_file_path)
        tensors = hashlib.sha256()
        for tensor in network.state_dict().values():
            tensors.update(tensor.numpy().tobytes())
        for state in network._optimizer.state_dict()["state"].values():
            for key, tensor in state.items():
                tensors.update(key.encode() + tensor.numpy().tobytes())
        left[model] = {
            "metrics.csv": hashlib.sha256(log.read_bytes()).hexdigest(), "tensors": tensors.hexdigest(),
            "epoch": trainer.current_epoch, "step": trainer.global_step,
            "files": sorted(str(path.relative_to(log.parent)) for path in log.parent.rglob("*")),
            "training": [module.training for module in network.modules()]}
    print(json.dumps(left))


main(*sys.argv[1:])

"""Executes notebooks in their folder. Compares what they print with what is stored, and the notebook in Rust with mnist.ipynb.

On another processor than theirs, or with another number of threads, a training has other last digits. Decimal numbers are then
not compared with stored ones. The notebook in Rust is compared with mnist.ipynb as executed just before, to the last digit.

A cell with the tag not-compared prints times. Lightning's tips and its lines about GPUs and TPUs say something of the machine, not
of the training, and warnings contain its paths; none is stored or compared.

Run with python -P: Jupyter imports modules that have the names of scripts here.
"""

import argparse
import difflib
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from islp_mnist.machine import machine
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

import torch

MACHINE = re.compile(r"💡|GPU available|TPU available")


def clean(cell: nbformat.NotebookNode):
    """Removes what is of the machine, and joins the pieces of a stream."""
    outputs: list[nbformat.NotebookNode] = []
    for output in cell.outputs:
        if output.output_type == "stream":
            output.text = "".join(line for line in output.text.splitlines(keepends=True) if not MACHINE.match(line))
            if outputs and outputs[-1].get("name") == output.name:
                outputs[-1].text += output.text
                continue
        outputs.append(output)
    cell.outputs = [output for output in outputs if output.output_type != "stream" or output.text.strip()]
    # When it ran.
    cell.metadata.pop("execution", None)


def text(cell: nbformat.NotebookNode) -> list[str]:
    """Returns what the cell prints and shows: the text of its outputs, and the kinds of its pictures."""
    lines: list[str] = []
    for output in cell.outputs:
        if output.output_type == "stream":
            lines += output.text.splitlines()
        elif "data" in output:
            pictures = [kind for kind in output.data if kind.startswith("image/")]
            lines += pictures or output.data.get("text/plain", "").splitlines()
    return [line.rstrip() for line in lines]


def processor() -> dict[str, Any]:
    """Returns what the last digits depend on."""
    here = machine()
    return {name: here[name] for name in ("processor", "cpu_capability")} | {"threads": torch.get_num_threads()}


def picture(page: Path):
    """Writes the cells of the README's picture, as stored, to an HTML page."""
    shown = {"mnist": ("fit", "test"), "beside": ("ratio",)}
    cells = [cell for name, ids in shown.items() for cell in nbformat.read(f"notebooks/{name}.ipynb", as_version=4).cells
             if cell.id in ids]
    html, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    page.write_text(html)


def count_differing(path: Path, notebook: nbformat.NotebookNode, reference: nbformat.NotebookNode, what: str) -> int:
    """Prints in what the notebook's cells differ from those of the reference with the same ids, and returns how many do."""
    is_same = notebook.metadata.get("machine") == reference.metadata.get("machine")
    old = {cell.id: cell for cell in reference.cells}
    differing, compared = 0, 0
    for cell in notebook.cells:
        if cell.cell_type != "code" or cell.id not in old or "not-compared" in cell.metadata.get("tags", []):
            continue
        compared += 1
        texts = [text(old[cell.id]), text(cell)]
        if not is_same:
            texts = [[re.sub(r" *[0-9]+\.[0-9]{3,}", " #", line) for line in lines] for lines in texts]
        if texts[0] != texts[1]:
            differing += 1
            sys.stdout.writelines(f"{line}\n" for line in difflib.unified_diff(
                *texts, f"{path}, cell {cell.id}, {what}", "here", lineterm=""))
    if not compared:
        print(f"{path}: no cell to compare with {what}")
        return 1
    note = "" if is_same else ", without decimal numbers, because the processor or the number of threads is another one"
    print(f"{path}: {compared} cells compared with {what}{note}")
    return differing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="execute and compare")
    action.add_argument("--check-stored", action="store_true", help="compare what is stored, execute nothing")
    action.add_argument("--execute", action="store_true", help="execute and store")
    action.add_argument("--picture", type=Path, metavar="PAGE.html")
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    if arguments.picture:
        picture(arguments.picture)
        return 0
    os.environ["PYTHONWARNINGS"] = "ignore"
    differ, lightning = 0, None
    for path in arguments.notebooks:
        stored = nbformat.read(path, as_version=4)
        if arguments.check_stored:
            differ += count_differing(path, stored, nbformat.read(path.with_name("mnist.ipynb"), as_version=4), "mnist.ipynb")
            continue
        notebook = nbformat.reads(nbformat.writes(stored), as_version=4)
        if arguments.check:
            # The times are not compared.
            for cell in notebook.cells:
                cell.source = cell.source.replace("rounds = 3", "rounds = 1")
        client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(path.parent)}})
        try:
            client.execute()
        except CellExecutionError as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
        for cell in notebook.cells:
            if cell.cell_type == "code":
                clean(cell)
        notebook.metadata["machine"] = processor()
        if path.stem == "mnist":
            lightning = notebook
        if arguments.execute:
            nbformat.write(notebook, path)
            print(f"{path}: executed")
            continue
        differ += count_differing(path, notebook, stored, "what is stored")
        if path.stem == "mnist_rust" and lightning:
            differ += count_differing(path, notebook, lightning, "mnist.ipynb as executed")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())

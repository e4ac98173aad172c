"""Executes notebooks in their folder, with the kernel of this Python, and compares what they print with what is stored.

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

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

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


def picture(page: Path):
    """Writes the cells of the README's picture, as stored, to an HTML page."""
    shown = {"mnist": ("fit", "test"), "beside": ("ratio",)}
    cells = [cell for name, ids in shown.items() for cell in nbformat.read(f"notebooks/{name}.ipynb", as_version=4).cells
             if cell.id in ids]
    html, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    page.write_text(html)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true")
    action.add_argument("--execute", action="store_true")
    action.add_argument("--picture", type=Path, metavar="PAGE.html")
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    if arguments.picture:
        picture(arguments.picture)
        return 0
    os.environ["PYTHONWARNINGS"] = "ignore"
    differ = 0
    for path in arguments.notebooks:
        stored = nbformat.read(path, as_version=4)
        executed = nbformat.reads(nbformat.writes(stored), as_version=4)
        if arguments.check:
            # The times are not compared.
            for cell in executed.cells:
                cell.source = cell.source.replace("rounds = 3", "rounds = 1")
        client = NotebookClient(executed, timeout=None, resources={"metadata": {"path": str(path.parent)}})
        try:
            client.execute()
        except CellExecutionError as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
        for cell in executed.cells:
            if cell.cell_type == "code":
                clean(cell)
        if arguments.execute:
            nbformat.write(executed, path)
            print(f"{path}: executed")
            continue
        cells = [(old, new) for old, new in zip(stored.cells, executed.cells, strict=True) if new.cell_type == "code"]
        compared = [(old, new) for old, new in cells if "not-compared" not in new.metadata.get("tags", [])]
        for old, new in compared:
            if text(old) != text(new):
                differ += 1
                sys.stdout.writelines(f"{line}\n" for line in difflib.unified_diff(
                    text(old), text(new), f"{path}, cell {old.id}, stored", "executed", lineterm=""))
        print(f"{path}: {len(compared)} of {len(cells)} cells compared")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())

"""Draws output/benchmark/benchmark.png from the rows of benchmark.csv. scripts/bench.py calls it; to redraw the picture:

    .venv/bin/python scripts/bench_figure.py output/benchmark/benchmark.csv output/benchmark/benchmark.png
"""

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CONTENDERS = ["program", "notebook", "hand-written loop", "products of training", "products, validation's too", "JAX, threefry",
              "JAX, rbg", "hand-written, torch.compile"]


def draw(rows: list[dict[str, Any]], path: str | Path):
    """Draws a dot for each contender's median, and a line from its minimum to its maximum, for each measurement that has
    contenders. The lower axis has seconds, the upper one times the program's."""
    rows = [row for row in rows if row["what"] in CONTENDERS]
    names = [name for name in dict.fromkeys(row["measurement"] for row in rows)
             if len([row for row in rows if row["measurement"] == name and row["unit"] in ("s/epoch", "s")]) > 2
             and ("fit" in name or "from start to exit" in name)]
    counts = [len([row for row in rows if row["measurement"] == name]) for name in names]
    fig, axes = plt.subplots(len(names), 1, figsize=(8, 1.3 * len(names) + 0.28 * sum(counts)), layout="constrained",
                             height_ratios=[count + 2 for count in counts], squeeze=False)
    for ax, name in zip(axes[:, 0], names):
        here = sorted((row for row in rows if row["measurement"] == name), key=lambda row: float(row["median"]))
        program = next(float(row["median"]) for row in here if row["what"] == "program")
        for y, row in enumerate(here):
            low, median, high = (float(row[column]) for column in ("minimum", "median", "maximum"))
            color = "tab:red" if row["what"] == "program" else "black"
            ax.errorbar(median, y, xerr=[[median - low], [high - median]], fmt="o", color=color, capsize=3)
            ax.annotate(f"{median:.3g}", (high, y), (8, 0), textcoords="offset points", va="center", color=color)
        ax.set_yticks(range(len(here)), [row["what"] for row in here])
        ax.set_ylim(len(here) - 0.4, -0.6)
        ax.set_xscale("log")
        ax.margins(x=0.12)
        ax.grid(axis="y", color="0.9")
        ax.set_axisbelow(True)
        ax.set_xlabel("seconds per epoch, on a log axis" if here[0]["unit"] == "s/epoch" else "seconds, on a log axis")
        times = ax.secondary_xaxis("top", functions=(lambda x, p=program: x / p, lambda x, p=program: x * p))
        times.set_xlabel("times the program's")
        is_narrow = float(here[-1]["median"]) < 10 * float(here[0]["median"])
        for axis in ax.xaxis, times.xaxis:
            axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 1.5, 2, 3, 5) if is_narrow else (1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        ax.set_title(name)
    fig.savefig(path, dpi=100)


if __name__ == "__main__":
    with open(sys.argv[1], newline="") as file:
        draw(list(csv.DictReader(file)), sys.argv[2])

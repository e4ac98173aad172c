"""Times a run of the lab and its parts, on either side."""

import os
import subprocess
import time


class Failed(Exception):
    """The run failed; the message is its last line, `log` its whole output."""

    def __init__(self, message: str, log: str):
        super().__init__(message)
        self.log = log


def lab_times(command: list[str]) -> dict[str, float]:
    """Runs `islp-mnist reproduce` or notebook.py. Returns the seconds of the whole run, from its start to the first `fit`,
    and of each model's `fit`, and the peak memory in MiB. The lines that Lightning prints when a `fit` begins and ends give
    these times on both sides."""
    lines, begun, ended = [], [], []
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        lines.append(line)
        if line.startswith("  | Name"):
            begun.append(time.perf_counter())
        elif "`Trainer.fit` stopped" in line:
            ended.append(time.perf_counter())
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0 or len(begun) != 2 or len(ended) != 2:
        raise Failed(f"{' '.join(command)} failed: {''.join(lines[-1:]).strip()}", "".join(lines))
    mlp, mlr = (end - begin for begin, end in zip(begun, ended))
    return {"reproduce": seconds, "start": begun[0] - start, "mlp": mlp, "mlr": mlr, "memory": usage.ru_maxrss / 1024}

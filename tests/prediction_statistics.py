"""Computes statistics of predictions with scikit-learn, torchmetrics and statsmodels: JSON for tests/program/report.rs."""

import json
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.stats import norm
from sklearn.metrics import accuracy_score, confusion_matrix
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint
from torchmetrics.functional.classification import multiclass_calibration_error

tensors = load_file(sys.argv[1])
labels = tensors["labels"].to(torch.int64)
right, said = {}, {}
for name in "reference", "candidate":
    logits = tensors[name]
    guesses = logits.argmax(dim=1)
    right[name] = (guesses == labels).numpy()
    said[name] = {
        "accuracy": accuracy_score(labels, guesses),
        "confusion_matrix": confusion_matrix(labels, guesses).tolist(),
        "wilson": proportion_confint(int(right[name].sum()), len(labels), method="wilson"),
        "calibration_error": multiclass_calibration_error(logits, labels, num_classes=10, n_bins=15, norm="l1").item(),
    }


def exact(only_reference, only_candidate):
    return mcnemar([[0, only_reference], [only_candidate, 0]], exact=True).pvalue


said["wilson"] = [[count, n, *proportion_confint(count, n, method="wilson")]
                  for count, n in [(0, 1), (1, 1), (0, 100), (100, 100), (895, 974), (9656, 10000)]]
left, other = right["reference"], right["candidate"]
said["mcnemar"] = exact(int(np.sum(left & ~other)), int(np.sum(other & ~left)))
said["mcnemar_edges"] = [[a, b, exact(a, b)] for a, b in [(1, 0), (5, 5), (3, 17), (79, 593), (2400, 2600)]]


def paired(only_first, only_second, images):
    """Bonett and Price (2012), in percentage points, by scipy's quantile."""
    first, second = (only_first + 1) / (images + 2), (only_second + 1) / (images + 2)
    half = norm.ppf(0.975) * np.sqrt((first + second - (first - second) ** 2) / (images + 2))
    return [100 * (only_first - only_second) / images, 100 * (first - second - half), 100 * (first - second + half)]


said["paired"] = [[a, b, n, *paired(a, b, n)] for a, b, n in [(60, 20, 1000), (0, 0, 10), (3, 17, 980), (593, 79, 10000)]]
print(json.dumps(said))

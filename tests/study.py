"""python tests/study.py: computes statistics of samples with NumPy and SciPy; tests/program/study.rs compares its own.

The bootstrap is computed twice: with the samples that torch's generator draws with seed 0, and with those that SciPy draws.
"""

import json

import numpy as np
import scipy.stats
import torch
from statsmodels.stats.power import TTestIndPower

RESAMPLES = 10_000


def statistics(values, others):
    values, others = np.array(values), np.array(others)
    n = len(values)
    drawn = torch.empty(RESAMPLES, n, dtype=torch.int64).random_(generator=torch.Generator().manual_seed(0)).numpy() % n
    means = np.array([sum(sample) / n for sample in values[drawn].tolist()])
    wins = (values > others) + 0.5 * (values == others)
    said = {
        "values": values.tolist(),
        "others": others.tolist(),
        "mean": float(np.mean(values)),
        "standard_deviation": float(np.std(values, ddof=1)) if n > 1 else 0.0,
        "quantiles": np.quantile(values, [0.0, 0.05, 0.3, 0.5, 0.95, 1.0]).tolist(),
        "bootstrap": np.quantile(means, [0.025, 0.975]).tolist(),
        "scipy": [float(values[0])] * 2,
        "outperforms": float(np.mean(wins)),
        "outperforms_bootstrap": np.quantile(wins[drawn].mean(axis=1), [0.025, 0.975]).tolist(),
        "binomial_error": float(scipy.stats.binom(10_000, values[0]).std() / 10_000),
    }
    if n > 1:
        seeds = TTestIndPower().solve_power(0.005 / np.std(values, ddof=1), power=0.8, alpha=0.05)
        said["seeds_needed"] = int(np.ceil(seeds))
        interval = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=RESAMPLES,
                                         rng=np.random.default_rng(1)).confidence_interval
        said["scipy"] = [float(interval.low), float(interval.high)]
    return said


random = np.random.default_rng(0)
accuracies = np.round(random.normal(0.9655, 0.003, 100), 4)
print(json.dumps([
    statistics(accuracies, np.round(random.normal(0.9655, 0.003, 100), 4)),
    statistics(random.beta(30, 2, 31), random.beta(30, 3, 31)),
    statistics([0.92, 0.93], [0.92, 0.92]),
    statistics([0.9], [0.95]),
]))

"""The demo's training: a neural network that learns handwritten digits, measured by `track()` as any training would be.

    python -m kappawatt.demo_training --seconds 30

What it does goes to stdout as JSON lines: `{"run_id": …}`, one `{"epoch": …}` each, and `{"summary": …}` at the end.
"""

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import kappawatt

_COPIES = 3
"""Every epoch sees each digit this often, each time with other noise: an epoch of about a second on a slow core."""


def train(run: Any, seconds: float) -> None:
    """Learn for *seconds*, epoch by epoch, and say how well."""
    rng = np.random.default_rng(7)
    with run.phase("prepare"):
        digits = load_digits()
        x, x_test, y, y_test = train_test_split(digits.data / 16.0, digits.target, random_state=7)
        model = MLPClassifier(hidden_layer_sizes=(256, 128), random_state=7)
    end = time.monotonic() + seconds
    epoch = 0
    with run.phase("train"):
        while time.monotonic() < end:
            for _ in range(_COPIES):
                model.partial_fit(x + rng.normal(0.0, 0.1, x.shape), y, classes=digits.target_names)
                if time.monotonic() >= end:
                    break
            epoch += 1
            reached = {"loss": float(model.loss_), "accuracy": float(model.score(x_test, y_test))}
            run.epoch(epoch, **reached, samples=len(x) * _COPIES)
            _tell(epoch=epoch, **reached)
    with run.phase("evaluate"):
        run.log(accuracy=float(model.score(x_test, y_test)))


def main() -> int:
    """The program; the exit code."""
    parser = argparse.ArgumentParser(description="the demo's training")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to train [60]")
    seconds = parser.parse_args().seconds
    with kappawatt.track(
        name="digits",
        project="demo",
        model="mlp-256-128",
        dataset="digits (UCI, 1,797 images)",
        framework="scikit-learn",
        quiet=True,
    ) as run:
        _tell(run_id=run.id, at=time.time())
        train(run, seconds)
    _tell(summary=run.summary.to_json() if run.summary else None)
    return 0


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main())

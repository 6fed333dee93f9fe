"""`python -m tests.simulation SEED [LAST]`: the history of a seed, or of each from SEED to LAST."""

import sys
import time

from tests.simulation.scheduler import run


def main(first: int, last: int) -> None:
    """Run the histories and say what was in them."""
    began = time.perf_counter()
    for seed in range(first, last + 1):
        report = run(seed)
        print(seed, f"late {report.late}", dict(sorted(report.counts.items())))
    print(f"{last - first + 1} histories in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[-1]))

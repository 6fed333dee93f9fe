"""Faults planted on purpose: `python -m tests.simulation.mutants` shows by which history and law each is caught.

Each fault is a piece of the product's source and what is put in its place; a process of its own loads the product so.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
MOST = 60
"""Histories that a fault may survive at most; the thousand of the tests are far more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """In *module*, *new* in place of *old*, which is there once."""

    about: str
    module: str
    old: str
    new: str


FAULTS = {
    "early": Fault(
        "rows leave before their commit",
        "kappawatt.emissions.steps",
        "                self._shard.add(value)\n                self._changed = True\n        return items",
        "                self._shard.add(value)\n"
        "        flush = self._shard.flush()\n"
        "        self._outbox.put(flush.rows, flush.deletes, flush.dead, flush.orders)\n"
        "        self._zones.extend(flush.zones)\n"
        "        self._changed = True\n"
        "        return items + [(self._name, outlet) for outlet in self._outbox.release()]",
    ),
    "verdict": Fault(
        "what is rejected does not count as seen: verdicts before dedupe",
        "kappawatt.ledger.bucket",
        "fresh = self._collectors.admit(collector, batch.seq)",
        "good = batch.end_us > batch.start_us\n"
        "        fresh = np.ones(len(good), bool)\n"
        "        fresh[good] = self._collectors.admit(collector[good], batch.seq[good])",
    ),
    "max": Fault(
        "the watermark is the greatest of the partitions instead of the least",
        "kappawatt.stream.watermark",
        "least = min(live)",
        "least = max(live)",
    ),
    "flush": Fault(
        "the flush number is not restored",
        "kappawatt.stream.outbox",
        "self._flushes = flushes",
        "self._flushes = 0",
    ),
    "fence": Fault(
        "versions without a fence",
        "kappawatt.stream.target",
        "version = fence + outlet.flush",
        "version = outlet.flush",
    ),
    "guard": Fault(
        "a start that was held up does not ask for the fence",
        "kappawatt.stream.target",
        "if found > self._fence:",
        "if False:",
    ),
    "epochs": Fault(
        "the fence is asked for once a start, not once an epoch",
        "kappawatt.stream.target",
        'later commit."""\n        self._asked_us = None',
        'later commit."""',
    ),
    "outbox": Fault(
        "a bucket's outbox is not restored",
        "kappawatt.emissions.samples",
        "outbox = Outbox(*waiting)",
        "outbox = Outbox((), waiting[1])",
    ),
    "seen": Fault(
        "what was seen is forgotten by a crash",
        "kappawatt.emissions.samples",
        "bucket.load(dumped)",
        "bucket.partitions = (bucket.load(dumped), bucket.partitions, bucket.__init__(config, decoder()))[1]",
    ),
    "position": Fault(
        "positions are not restored",
        "kappawatt.emissions.samples",
        "name, open_reader(name, positions)",
        "name, open_reader(name, None)",
    ),
    "tick": Fault(
        "keys are not woken after a start",
        "kappawatt.stream.ticks",
        "self._addressed: set[str] = set(first)",
        "self._addressed: set[str] = set()",
    ),
    "zones": Fault(
        "what a shard had for the zones is lost by a crash",
        "kappawatt.emissions.steps",
        "self._zones = [ZoneHour(*values) for values in zones]",
        "self._zones = []",
    ),
    "late": Fault(
        "late pieces are in the windows as well",
        "kappawatt.ledger.windows",
        "spans.chosen(~late[0]) if late[0].any() else spans",
        "spans",
    ),
    "told": Fault(
        "after a start a bucket does not know what shards were told",
        "kappawatt.emissions.samples",
        "told = max(told or 0, runtime.now_us() + FUTURE_SKEW_US)",
        "told = None",
    ),
    "rest": Fault(
        "pieces lose what does not divide",
        "kappawatt.stream.split",
        "part[later] -= until[later - back[later]]",
        "part[later] -= until[later - back[later]] + 1",
    ),
    "price": Fault(
        "of the prices that count the worst is taken",
        "kappawatt.stream.asof",
        "rank > top",
        "rank < top",
    ),
    "obey": Fault(
        "nobody prices anew what lies in the store only",
        "kappawatt.stores.outlets",
        "if outlet.orders:",
        "if False:",
    ),
    "drain": Fault(
        "the drain is one epoch too short",
        "kappawatt.stream.part",
        "DRAIN_EPOCHS = 3",
        "DRAIN_EPOCHS = 0",
    ),
}


class Planted(SourceFileLoader):
    """Loads a module with a fault in it."""

    def __init__(self, fault: Fault, path: str) -> None:
        super().__init__(fault.module, path)
        self._fault = fault

    def get_code(self, fullname: str):
        """Never from a cache."""
        text = Path(self.path).read_text()
        if text.count(self._fault.old) != 1:
            raise SystemExit(f"{self._fault.module} does not have once: {self._fault.old}")
        return SourceLoader.source_to_code(self, text.replace(self._fault.old, self._fault.new).encode(), self.path)


class Planter(MetaPathFinder):
    """Finds the faulty module before anybody else does."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module with the fault."""
        if fullname != self._fault.module:
            return None
        spec = PathFinder.find_spec(fullname, path)
        spec.loader = Planted(self._fault, spec.origin)
        return spec


def hunt(fault: Fault) -> str:
    """Plant a fault, run histories until one breaks a law, and say which and when."""
    sys.meta_path.insert(0, Planter(fault))
    from tests.simulation.scheduler import run

    began = time.perf_counter()
    for seed in range(MOST):
        try:
            run(seed)
        except AssertionError as error:
            what = str(error.__cause__ or error).splitlines()[0]
            return f"history {seed}, {time.perf_counter() - began:.1f} s | {what[:100]}"
    return f"NOT CAUGHT in {MOST} histories"


def caught(name: str) -> str:
    """The line of one fault, from a process of its own."""
    command = [sys.executable, "-m", "tests.simulation.mutants", name]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or f"FAILED {found.stderr.strip().splitlines()[-1]}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(hunt(FAULTS[sys.argv[1]]))
    else:
        for each, planted in FAULTS.items():
            print(f"{planted.about} | {caught(each)}", flush=True)

"""A thousand histories with crashes, late samples, growth and half-dead writers: every law holds after every commit."""

from collections import Counter

import pytest

from tests.simulation.scheduler import run

HISTORIES = 1_000
AT_ONCE = 50


@pytest.mark.parametrize("first", range(0, HISTORIES, AT_ONCE))
def test_every_law_holds_in_every_history(first: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + AT_ONCE):
        report = run(seed)
        seen += report.counts
        seen["late"] += report.late

    # a history without these would prove little
    for event in ("crash polls", "crash before snapshot", "crash before flush", "crash before commit", "late"):
        assert seen[event] > 0, event
    for event in ("drain", "idle", "zombie", "superseded", "grow", "trim", "until end", "lost state"):
        assert seen[event] > 0, event

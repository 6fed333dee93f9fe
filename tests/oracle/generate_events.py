"""Run events of the generated logs: corrected fields, phases of every shape, epochs, repeats, some to be rejected."""

import math
import random
from collections.abc import Iterator, Mapping
from itertools import count

from tests.oracle.model import SECOND, Record
from tests.oracle.records import event

GPU = {"device": "gpu:0", "kind": 2, "model": "H100 ü", "uuid": None, "tdp_w": 700.0}


def events_of(spans: Mapping[str, tuple[int, int]], rng: random.Random, *, rejected: bool) -> list[Record]:
    """Events of most of the runs, in no order, some twice; and of one run that never had a sample."""
    events: list[Record] = []
    for number, (run, (start, end)) in enumerate(spans.items()):
        if number % 4 != 3:
            events += _events(run, number, start, end, rng)
    first = min((start for start, _ in spans.values()), default=0)
    events.append(event(run_id="ghost", event_id="only", type="heartbeat", at=first, user="nobody"))
    if rejected and spans:
        events += _spoilt(next(iter(spans)), max(end for _, end in spans.values()))
    events += [dict(record) for record in events if rng.random() < 0.1]
    rng.shuffle(events)
    return events


def _events(run: str, number: int, start: int, end: int, rng: random.Random) -> Iterator[Record]:
    ids = (f"{rng.getrandbits(32):08x}-{tally}" for tally in count())
    names = {"name": f"Training {number} é"} if number % 2 == 0 else {}
    yield event(
        run_id=run,
        event_id=next(ids),
        type="start",
        at=start - rng.randrange(3 * SECOND),
        user=rng.choice(("ann", "bob")),
        project="p",
        model=f"model-{number % 2}",
        pue=1.6,
        wue_l_per_kwh=0.45 if number % 2 == 0 else None,
        labels=names | {"z": "1", "a": "2"},
        hardware=[dict(GPU)],
    )
    # Corrected downwards, by an event of a later time; the one between says neither.
    yield event(run_id=run, event_id=next(ids), at=start + 2, pue=None, team="t", zone="DEU", framework="torch 2")
    yield event(run_id=run, event_id=next(ids), at=start + 3, pue=round(1 + rng.random() / 4, 3), user="carol")
    yield event(run_id=run, event_id=next(ids), type="budget", at=start + 4, budget_energy_uj=1 << 60)
    for step in _phases(start, end, rng, number):
        yield event(run_id=run, event_id=next(ids), **step)
    for epoch in range(3):
        at = start + (end - start) * (epoch + 1) // 4
        metrics = {"loss": 1 / (epoch + 2), "tokens": 1e6 * epoch, "other": 1.0} if epoch else {}
        yield event(run_id=run, event_id=next(ids), type="epoch", at=at, epoch=epoch, metrics=metrics)
    yield event(run_id=run, event_id=next(ids), at=end - 1, metrics={"accuracy": rng.random(), "samples": 5.0})
    if number % 4 == 0:
        yield event(run_id=run, event_id=next(ids), type="stop", at=end + SECOND)
    if number % 4 == 1:
        yield event(run_id=run, event_id=next(ids), type="stop", at=end - SECOND, status="failed", rank=0)


def _phases(start: int, end: int, rng: random.Random, number: int) -> Iterator[Record]:
    """Nested, touching, started twice, ended without a start, never ended; of rank 1: not to be used."""

    def at(share: float) -> int:
        return start + int((end - start) * share) + rng.randrange(1_000)

    if number % 4 == 2:
        return
    turns = [
        ("phase_start", 0.05, "load", None),
        ("phase_start", 0.2, "train", 0),
        ("phase_end", 0.25, "load", 0),
        ("phase_start", 0.4, "eval", 0),
        ("phase_end", 0.5, "eval", 0),
        ("phase_start", 0.55, "train", None),
        ("phase_start", 0.6, "loader", 1),
        ("phase_end", 0.65, "never", 0),
        ("phase_end", 0.7, "train", 0),
        ("phase_start", 0.8, "save", 0),
        ("phase_start", 0.85, "", 0),
    ]
    for kind, share, phase, rank in turns:
        yield {"type": kind, "at": at(share), "phase": phase, "rank": rank}


def _spoilt(run: str, late: int) -> list[Record]:
    """One event for each reason to reject it; each would win if it were not rejected."""
    strong = {"run_id": run, "at": late + 60 * SECOND, "user": "eve", "pue": 3.0}
    return [
        event(**strong | {"run_id": ""}),
        event(**strong | {"event_id": ""}),
        event(**strong | {"run_id": "~h0", "event_id": "x1"}),
        event(**strong | {"event_id": "x2", "type": "restart"}),
        event(**strong | {"event_id": "x3", "pue": 0.5}),
        event(**strong | {"event_id": "x4", "pue": math.nan}),
        event(**strong | {"event_id": "x5", "wue_l_per_kwh": -0.5}),
        event(**strong | {"event_id": "x6", "wue_l_per_kwh": math.inf}),
    ]

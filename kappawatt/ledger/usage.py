"""What runs used beside energy: time covered by hosts, CPU time, bytes, memory (docs/semantics.md §2, totals)."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.places import Places
from kappawatt.stream.table import Column, KeyedTable

Ints = NDArray[np.int64]

_SUMS = (
    "cpu_time_us",
    "cpu_known",
    "disk_bytes",
    "disk_known",
    "network_bytes",
    "network_known",
    "samples",
    "covered_us",
)


class Usage:
    """First and last instant of every host in a run, and the sums that only totals show."""

    def __init__(self, known: Places) -> None:
        self._known = known
        self._hosts = KeyedTable({"first_us": Column("min"), "last_us": Column("max")})

    def __repr__(self) -> str:
        return f"<Usage of {len(self._hosts)} hosts>"

    def fold(self, place: Ints, usage: Mapping[str, NDArray[Any]]) -> set[int]:
        """Take USAGE_COLUMNS by place codes [rows, 3]; the runs, by code, that changed."""
        self._fold_hosts(place[:, 2], usage)
        columns = [usage[name].tolist() for name in (*_SUMS, "memory_bytes_max", "first_us", "last_us")]
        for code, *sums, memory, first, last in zip(place[:, 0].tolist(), *columns, strict=True):
            run = self._known.state[code]
            for name, value in zip(_SUMS, sums, strict=True):
                setattr(run, name, getattr(run, name) + value)
            run.memory_bytes_max = max(run.memory_bytes_max, memory)
            run.first_start = first if run.first_start is None else min(run.first_start, first)
            run.last_end = last if run.last_end is None else max(run.last_end, last)
            self._known.lives.newest[code] = max(self._known.lives.newest[code], last)
        return set(place[:, 0].tolist())

    def forget(self, pairs: Collection[int]) -> None:
        """Drop hosts of runs that are forgotten, by the code of the host in its run."""
        if pairs:
            self._hosts.drop(np.isin(self._hosts.key, np.array(sorted(pairs), np.int64)))

    def dump(self) -> tuple[Any, ...]:
        """Plain state."""
        return self._hosts.dump()

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave."""
        self._hosts.load(state)

    def _fold_hosts(self, pair: Ints, usage: Mapping[str, NDArray[Any]]) -> None:
        before = self._spans(np.unique(pair))
        hosts = self._hosts.merge(pair, {name: usage[name] for name in ("first_us", "last_us")})
        grown = self._spans(hosts) - before
        for code, growth, new in zip(hosts.tolist(), grown.tolist(), (before == 0).tolist(), strict=True):
            run = self._known.state[self._known.pairs[code][0]]
            run.span_us += growth
            run.hosts += new

    def _spans(self, pair: Ints) -> Ints:
        at, known = self._hosts.find(pair)
        span = np.zeros(len(pair), np.int64)
        hit = at[known]
        span[known] = self._hosts.take("last_us", hit) - self._hosts.take("first_us", hit)
        return span

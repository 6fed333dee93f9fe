"""What runs used beside energy: time covered by hosts, CPU time, bytes, memory (docs/semantics.md §2, totals)."""

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.frames import USAGE_COLUMNS
from kappawatt.ledger.places import Places
from kappawatt.stream.table import Column, KeyedTable, distinct

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
        by_run = place[:, 0].argsort(kind="stable")
        code = place[by_run, 0]
        edges = [*np.flatnonzero(np.diff(code, prepend=-1)).tolist(), len(code)]
        codes = code[edges[:-1]].tolist()
        column = {name: usage[name][by_run].tolist() for name in USAGE_COLUMNS}
        for code, (low, high) in zip(codes, pairwise(edges), strict=True):
            run = self._known.state[code]
            for name in _SUMS:
                setattr(run, name, getattr(run, name) + sum(column[name][low:high]))
            run.memory_bytes_max = max(run.memory_bytes_max, *column["memory_bytes_max"][low:high])
            first, last = min(column["first_us"][low:high]), max(column["last_us"][low:high])
            run.first_start = first if run.first_start is None else min(run.first_start, first)
            run.last_end = last if run.last_end is None else max(run.last_end, last)
            self._known.lives.newest[code] = max(int(self._known.lives.newest[code]), last)
        return set(codes)

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
        before = self._spans(distinct(pair))
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

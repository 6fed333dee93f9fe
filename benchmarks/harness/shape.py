"""What a log of the benchmark is made by: a few numbers and a seed."""

import hashlib
import json
from dataclasses import asdict, dataclass

SECOND = 1_000_000
START_US = 1_740_873_600 * SECOND
PARTITIONS = 16
LATENESS_S = 300
LONGEST_DELAY_S = 1_000
FORMAT = 2
"""Raise it when the same numbers make other bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One log. Each host sends *ticks* / *hosts* ticks, one a second.

    late: share of the ticks that come half the log later, but no more than 1,000 s; 0 in logs that are too short for
    a tick to be late for all of its windows.
    """

    ticks: int
    devices: int = 11
    hosts: int = 495
    runs: int = 100
    zones: int = 20
    seed: int = 1
    swapped: float = 0.1
    repeated: float = 0.005
    late: float = 0.001

    @property
    def seconds(self) -> int:
        """Length of the log in event time."""
        return -(-self.ticks // self.hosts)

    @property
    def delay_s(self) -> int:
        """How much later a late tick comes; 0: none is late.

        A tick is late for certain when window, lateness and 300 s between partitions have passed.
        """
        delay = min(self.seconds // 2, LONGEST_DELAY_S)
        return delay if delay >= 300 + LATENESS_S + 300 + 20 else 0

    @property
    def readings(self) -> int:
        """Readings of all ticks, repeats apart."""
        return self.ticks * self.devices

    @property
    def key(self) -> str:
        """A short name that differs for any other log."""
        digest = hashlib.sha256(json.dumps([FORMAT, asdict(self)], sort_keys=True).encode()).hexdigest()
        return f"bench-{self.devices}x{self.ticks}-{digest[:8]}-"


def small(ticks: int, devices: int = 11, seed: int = 1) -> Shape:
    """A log of at least 2,000 s, with fewer hosts when there are few ticks, so that it has late ticks too.

    As many hosts in each partition: a partition with a third more would fall behind the others by a third of the log.
    """
    hosts = max(1, min(495, ticks // 2_000) // (PARTITIONS - 1)) * (PARTITIONS - 1)
    return Shape(ticks=ticks, devices=devices, hosts=hosts, runs=max(3, hosts // 5), seed=seed)

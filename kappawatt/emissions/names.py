"""Keys of the job, fixed for the life of a state: buckets, shards, zone shards, sink parts, step ids.

Bytewax sends a key to worker SipHash-1-3(key) mod workers. The suffixes were searched so that the hash of the i-th name
is i modulo 840: any number of processes up to eight gets an equal share. Should the hash change, only balance is lost.
"""

import zlib
from dataclasses import dataclass

BUCKETS = tuple(f"b{bucket:02d}" for bucket in range(16))
"""Source buckets: Kafka partition p belongs to bucket p mod 16, a file partition to crc32(name) mod 16."""

_SHARD_SUFFIX = (418, 1543, 471, 52, 1729, 753, 1606, 2112, 2223, 75, 1739, 68, 2729, 1296, 1980, 201)
_ZONE_SUFFIX = (335, 855, 2879, 295, 1263, 19, 139, 561, 1214, 585, 1331, 248, 1409, 1737, 335, 240)

SHARDS = tuple(f"s{shard:02d}.{suffix}" for shard, suffix in enumerate(_SHARD_SUFFIX))
"""Shards of runs, by crc32(run_id) mod 16: a fold of one costs milliseconds however little came (docs/adr/0015)."""

ZONES = tuple(f"z{zone:02d}.{suffix}" for zone, suffix in enumerate(_ZONE_SUFFIX))
"""Shards of zones, by crc32(zone) mod 16."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one job. Those of the product are `KEYS`; fewer are for tests, and another state."""

    buckets: tuple[str, ...]
    shards: tuple[str, ...]
    zones: tuple[str, ...]

    def zone_key(self, zone: str) -> str:
        """The zone shard that adds up a zone."""
        return self.zones[zlib.crc32(zone.encode()) % len(self.zones)]


KEYS = Keys(BUCKETS, SHARDS, ZONES)
"""All of them."""


def few_keys(*, buckets: int, shards: int, zones: int) -> Keys:
    """The first of each."""
    return Keys(BUCKETS[:buckets], SHARDS[:shards], ZONES[:zones])


CONTROL = "control"
"""The one part that reads intensity and run events, and the gate that it opens for samples."""

SINK_PARTS = tuple(f"c{part:02d}" for part in range(16))
STATE_VERSION = 10
"""Of all snapshots together; another one in a state folder means: rebuild from the log, but for those in `READABLE`."""

READABLE = frozenset({STATE_VERSION})
"""Versions that a start can go on with; what it writes is of `STATE_VERSION`."""


def bucket_of(partition: str) -> int:
    """The bucket of a file partition."""
    return zlib.crc32(partition.encode()) % len(BUCKETS)

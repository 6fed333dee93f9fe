"""Which samples are counted and which rejected, and why (docs/semantics.md §1)."""

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.config import LedgerConfig
from kappawatt.units import FUTURE_SKEW_US, MAX_END_US, MAX_ID_BYTES, MAX_INTERVAL_US, MAX_READING_UJ
from kappawatt.wire.columns import Decoded

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ACCEPTED = -1
REASONS = (
    "arrays_differ",
    "reserved_run_id",
    "empty_id",
    "long_id",
    "too_many_zones",
    "empty_interval",
    "too_long",
    "before_epoch",
    "after_time",
    "ahead_of_log",
    "negative_energy",
    "implausible_power",
    "expired",
)
_EXPIRED = REASONS.index("expired")


def is_long(name: str) -> bool:
    """Whether a name is too long to be part of a key.

    >>> is_long("é" * 256), is_long("é" * 257)
    (False, True)
    """
    return len(name) > MAX_ID_BYTES or len(name.encode()) > MAX_ID_BYTES


def owners(offset: Ints) -> Ints:
    """For every reading the sample that it belongs to."""
    return np.repeat(np.arange(len(offset) - 1), np.diff(offset))


def verdicts(
    batch: Decoded,
    *,
    reserved: Bools,
    nameless: Bools,
    long_named: Bools,
    crowded: Bools,
    append_us: Ints,
    newest_us: int,
    config: LedgerConfig,
) -> Ints:
    """For each sample of one partition, in log order, ACCEPTED or the index of the first reason that applies.

    Args:
        batch: Decoded samples, duplicates already taken out.
        reserved: Whose run_id begins with `~`.
        nameless: Whose collector_id, host or run_id is empty.
        long_named: Who has a name of more than MAX_ID_BYTES.
        crowded: Whose zone is one too many.
        append_us: When each was appended to the log, µs.
        newest_us: Greatest accepted end of the partition before this batch, µs; very small if there is none.
        config: Bounds.
    """
    start, end = batch.start_us, batch.end_us
    broken = end <= start
    length = np.where(broken, 1, end - start)  # wraps below 0 for absurd stamps, which is too long as well
    owner = owners(batch.offset)
    limit = _most_uj(np.clip(length, 1, MAX_INTERVAL_US), config.max_device_power_w)
    negative, greedy = np.zeros(len(start), bool), np.zeros(len(start), bool)
    negative[owner[batch.energy_uj < 0]] = True
    greedy[owner[batch.energy_uj > limit[owner]]] = True
    faults = (
        batch.uneven,
        reserved,
        nameless,
        long_named,
        crowded,
        broken,
        (length >= MAX_INTERVAL_US) | (length < 0),
        start < 0,
        end > MAX_END_US,
        end > append_us + FUTURE_SKEW_US,
        negative,
        greedy,
    )
    found = np.full(len(start), ACCEPTED, np.int64)
    for code in range(len(faults) - 1, -1, -1):
        found[faults[code]] = code
    if config.rebuilding:
        return found
    accepted_end = np.where(found == ACCEPTED, end, newest_us)
    before = np.maximum.accumulate(np.concatenate(([newest_us], accepted_end)))[:-1]
    found[(found == ACCEPTED) & (end < before - config.horizon_us)] = _EXPIRED
    return found


def _most_uj(length_us: Ints, power_w: int) -> Ints:
    """The greatest plausible energy of a reading; a product beyond it may wrap, so it is not looked at."""
    most = MAX_READING_UJ - 1
    watts = min(power_w, most)
    limit: Ints = np.where(watts > most // length_us, most, watts * length_us)
    return limit

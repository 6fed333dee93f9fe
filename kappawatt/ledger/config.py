"""What the ledger can be told; the defaults are the design's."""

from dataclasses import dataclass

from kappawatt.units import US_PER_S, WINDOW_1H_US, WINDOW_5M_US, WINDOW_5S_US

WIDTHS = (WINDOW_5S_US, WINDOW_5M_US, WINDOW_1H_US)
"""The three window widths in µs; each is a multiple of the one before."""

TABLES = ("run_window_5s", "run_window_5m", "run_window_1h")
"""The tables of the three widths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """Numbers that decide about rows; the same for every process of a dataflow.

    lateness_us: A window stays open this long behind the watermark.
    lease_us: A run without a stop that is silent for so long is lost; a stopped one may be closed after it.
    close_us: A run that nobody has heard of for so long is closed, whatever is missing of it.
    horizon_us: What ends longer than this before the newest sample of its partition is rejected as `expired`.
    max_device_power_w: A reading above it is rejected as `implausible_power`.
    rebuilding: The whole log is read anew: nothing is expired, no run forgotten.
    zones: Most zones that the samples of one bucket can name: 16 buckets fill the codes of a shard.
    names: More series, layouts or devices than these make a bucket give their codes anew.
    shards: Number of virtual shards, fixed for the life of a state.
    """

    lateness_us: int = 900 * US_PER_S
    lease_us: int = 900 * US_PER_S
    close_us: int = 2 * 86_400 * US_PER_S
    horizon_us: int = 14 * 86_400 * US_PER_S
    max_device_power_w: int = 1_000_000
    rebuilding: bool = False
    zones: int = 255
    names: int = 1 << 16
    shards: int = 16

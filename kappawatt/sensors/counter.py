"""What two readings of an energy counter say: a first one, a difference, a wrap, or a restart."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class First:
    """There was no reading before: a baseline, no energy yet."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The counter went on by `uj` microjoules (or stood still: 0)."""

    uj: int


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The counter passed its limit once and went on: `uj` microjoules through zero."""

    uj: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """The counter began anew (driver reload, suspend, reboot): the energy in between is unknown, which is not zero."""


Step = First | Moved | Wrapped | Restarted


def step(before: int | None, now: int, limit: int | None) -> Step:
    """Energy between two readings of a counter that starts anew after *limit* (None: it never should).

    >>> step(None, 7, 9), step(3, 7, 9), step(8, 2, 9), step(8, 2, None)
    (First(), Moved(uj=4), Wrapped(uj=4), Restarted())
    """
    if before is None:
        return First()
    if now >= before:
        return Moved(now - before)
    if limit is None or before > limit:
        return Restarted()
    return Wrapped(limit - before + now + 1)  # one wrap: more cannot be seen


def believe(found: Step, *, elapsed_us: int, max_power_w: float, same_boot: bool) -> Step:
    """The step, with a wrap taken for a restart unless it is plausible.

    A wrap is believed only if the machine did not boot in between and its energy needs no more than *max_power_w* over
    *elapsed_us*: taking a reset for a wrap adds a whole counter range, 262 kJ on many CPUs. Undetected remains a reset
    whose wrap would be plausible; its error is at most max_power_w · elapsed.

    >>> believe(Wrapped(4), elapsed_us=1, max_power_w=10.0, same_boot=True)
    Wrapped(uj=4)
    >>> believe(Wrapped(4_000_000), elapsed_us=1_000, max_power_w=10.0, same_boot=True)
    Restarted()
    """
    if not isinstance(found, Wrapped):
        return found
    if same_boot and found.uj <= max_power_w * elapsed_us:  # watts times microseconds are microjoules
        return found
    return Restarted()

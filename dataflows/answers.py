"""What the flow answers to probes: that it is not stuck, and that epochs pass."""

from kappawatt.probes import serve
from kappawatt.settings import FlowSettings

from .process import STOP, WATCHDOG, Watchdog

_DEAD_S = 90.0  # the watchdog ends the process after 60 s: if it could not, somebody else has to
_SLOW_S = 20.0


def answer(settings: FlowSettings) -> None:
    """Answer probes, if that is asked for, for as long as this process lives."""
    if settings.probes is not None:
        serve(settings.probes, {"/livez": alive, "/readyz": ready})


def alive(watchdog: Watchdog = WATCHDOG) -> str | None:
    """What shows that this process is stuck; waiting for members, store or log is not."""
    silent_s = watchdog.silent_s()
    if silent_s is not None and silent_s > _DEAD_S and not watchdog.waits():
        return f"no progress for {silent_s:.0f} s"
    return None


def ready(watchdog: Watchdog = WATCHDOG) -> str | None:
    """Why nothing is being counted just now."""
    age_s = watchdog.epoch_age_s()
    if STOP.is_set():
        return "draining"
    if age_s is None:
        return "starting: reading the kept state, or waiting for the other members"
    if age_s <= _SLOW_S:
        return None
    why = ": waiting for the store, the log, the registry or another member" if watchdog.waits() else ""
    return f"no epoch has passed for {age_s:.0f} s{why}"

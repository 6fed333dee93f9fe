"""Who hears of the host agent's work: Prometheus, if it is asked for, else nobody."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kappawatt.outlet import Outlet
from kappawatt.programs import missing
from kappawatt.settings import Settings
from kappawatt.wire.records import Sample

_log = logging.getLogger("kappawatt.agent")

Told = Callable[[Sequence[Sample]], None]
"""Hears of samples that were written."""
Timed = Callable[[], AbstractContextManager[Any]]
"""Makes what times one turn."""


def nobody(samples: Sequence[Sample]) -> None:
    """Nobody is told."""


def measured(settings: Settings, outlet: Outlet) -> tuple[Told, Timed]:
    """Who hears of samples, and what times a turn.

    Raises:
        SettingsError: The address of the metrics cannot be used.
        KappawattError: The package that serves them is not installed.
    """
    if settings.metrics is None:
        return nobody, nullcontext
    try:
        from . import metrics
    except ModuleNotFoundError as error:
        raise missing("serving metrics", error) from error
    port = metrics.serve(settings.metrics, "agent")
    metrics.watch(outlet)
    _log.info("metrics: port %d", port)
    return metrics.count, metrics.TURN_S.time

"""One process of the emissions flow."""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from kappawatt import logs
from kappawatt.emissions.job import emissions_job
from kappawatt.emissions.names import SHARDS, SINK_PARTS
from kappawatt.emissions.rings import with_journals
from kappawatt.ledger.config import LedgerConfig
from kappawatt.programs import missing
from kappawatt.settings import FlowSettings
from kappawatt.stores import Store
from kappawatt.stores.outlets import write_outlet
from kappawatt.wire.decode import SampleDecoder

from .engine import INTERVAL, dataflow
from .homes import Home, open_home
from .pace import Pace
from .process import WATCHDOG, Marks, Process, collect_rarely
from .signals import stop_on_signals
from .sinks import OutletSink
from .state import StateFolder

_LOG = logging.getLogger("kappawatt.flow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How far one start reads.

    bounded: To where the log ends at the start. final: Then everything is final. rebuilding: From the log's beginning.
    """

    bounded: bool
    final: bool
    rebuilding: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which process of how many this is, and what all of one start share."""

    index: int
    addresses: list[str]
    fence: int
    gates: Marks
    stage: Stage


class Kept(Protocol):
    """The state, as one process needs it."""

    def recovery(self) -> RecoveryConfig:
        """The folder with those recovery files that this process has."""

    def give_up(self, why: str) -> None:
        """Nothing can resume from this state."""


def ledger_config(settings: FlowSettings, *, rebuilding: bool = False) -> LedgerConfig:
    """The numbers that decide about rows."""
    return LedgerConfig(
        lateness_us=round(settings.lateness_s * 1e6),
        lease_us=round(settings.lease_s * 1e6),
        close_us=round(settings.close_s * 1e6),
        horizon_us=round(settings.horizon_s * 1e6),
        max_device_power_w=round(settings.max_device_power_w),
        rebuilding=rebuilding,
        shards=len(SHARDS),
    )


def work(settings: FlowSettings, place: Place, open_store: Callable[[str], Store], state: Kept) -> None:
    """Run this process's share of the flow until the end or a drain."""
    stop_on_signals()
    collect_rarely()
    WATCHDOG.attach(place.gates, str(place.index))
    WATCHDOG.start()
    stage = place.stage
    config = ledger_config(settings, rebuilding=stage.rebuilding)
    home, opened_store = _doors(settings, open_store, bounded=stage.bounded)
    job = emissions_job(
        config,
        Process(place.gates),
        open_bucket=home.bucket,
        open_topic=home.topic,
        decoder=lambda: SampleDecoder(home.schemas()),
        schema_of=home.schemas(),
        bounded=stage.bounded,
        final=stage.final,
        idle_us=round(settings.idle_s * 1e6),
    )
    sink = OutletSink(SINK_PARTS, lambda: (opened_store(), home.letters()), write_outlet, place.fence)
    alone = len(place.addresses) < 2
    pace = Pace(settings.epoch_s, None if alone else place.gates, str(place.index))
    cli_main(
        dataflow(with_journals(job, config), sink, state.give_up, pace),
        process_id=None if alone else place.index,
        addresses=None if alone else place.addresses,
        epoch_interval=INTERVAL,
        recovery_config=state.recovery(),
    )


def _doors(
    settings: FlowSettings, open_store: Callable[[str], Store], *, bounded: bool
) -> tuple[Home, Callable[[], Store]]:
    """Log and store; measured if somebody is to see the numbers."""
    home = open_home(settings.log, settings.registry, settings.topic_prefix, bounded=bounded)
    if settings.metrics is None:
        return home, lambda: open_store(settings.store)
    from .metrics import MeasuredHome, MeasuredStore

    return MeasuredHome(home), lambda: MeasuredStore(open_store(settings.store))


def serve_metrics(settings: FlowSettings, index: int = 0) -> None:
    """Serve this process's numbers, if that is asked for, for as long as it lives.

    Raises:
        SettingsError: The address cannot be used.
        KappawattError: The package that serves them is not installed.
    """
    if settings.metrics is None:
        return
    try:
        from kappawatt.metrics import serve
    except ModuleNotFoundError as error:
        raise missing("serving metrics", error) from error
    port = serve(settings.metrics, "flow", above=index)
    _LOG.info("metrics of process %d: port %d", index, port)


def child(settings: FlowSettings, place: Place, parent: int, open_store: Callable[[str], Store]) -> None:
    """Entry of a spawned process: ends with its parent."""
    logs.go_on("flow", place.index, f"%(levelname)s flow[{place.index}]: %(message)s")
    faulthandler.enable()
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    serve_metrics(settings, place.index)
    work(settings, place, open_store, StateFolder(Path(settings.state)))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(71)

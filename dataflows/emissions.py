"""The emissions flow: samples and control records to ledger shards to zone shards to the store."""

from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.zones import ZoneHour

from .control import ControlSource
from .names import SHARDS, zone_key
from .outlet import Outlet
from .samples import SampleSource
from .sinks import StoreSink
from .steps import ShardStep, ZoneStep
from .ticks import Item

_SHARD_NUMBER = {name: number for number, name in enumerate(SHARDS)}


def build(config: LedgerConfig, *, samples: SampleSource, control: ControlSource, sink: StoreSink) -> Dataflow:
    """The flow. Step ids are part of the state's format: they never change."""
    flow = Dataflow("emissions")
    merged = op.merge("inputs", op.input("samples", flow, samples), op.input("control", flow, control))
    rows = op.filter("rows", merged, _is_outlet)
    ledger_input = op.filter("to_ledger", merged, _is_for_ledger)
    ledger = op.stateful_batch("ledger", ledger_input, lambda state: ShardStep(config, state))
    horizon_hours = config.horizon_us // 3_600_000_000
    zone_input = op.merge(
        "zone_inputs", op.filter("zone_ticks", merged, _is_for_zones), op.flat_map("by_zone", ledger, _by_zone)
    )
    zones = op.stateful_batch("zones", zone_input, lambda state: ZoneStep(horizon_hours, state))
    op.output("store", op.merge("outlets", rows, op.filter("ledger_rows", ledger, _is_outlet), zones), sink)
    return flow


def _is_outlet(item: Item) -> bool:
    return isinstance(item[1], Outlet)


def _is_for_ledger(item: Item) -> bool:
    return item[0] in _SHARD_NUMBER


def _is_for_zones(item: Item) -> bool:
    return item[0].startswith("z")


def _by_zone(item: Item) -> Iterable[tuple[str, Any]]:
    key, value = item
    return [(zone_key(value.zone), (_SHARD_NUMBER[key], value))] if isinstance(value, ZoneHour) else []

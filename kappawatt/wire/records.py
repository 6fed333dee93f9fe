"""The records of the five topics as frozen data; names, order, units and meanings are those of `avro/*.avsc`.

Times are integer µs since 1970 UTC. `to_avro` gives what `codec.encode` takes; `from_avro` takes what
`codec.decode_one` gives, ignores fields of later schemas and fills those that an earlier schema lacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self


class _Record:
    """The two translations that all records share."""

    __slots__ = ()

    def to_avro(self) -> dict[str, Any]:
        """The record as `codec.encode` takes it: names to plain values, tuples as lists."""
        return {name: _plain(getattr(self, name)) for name in _names(type(self))}

    @classmethod
    def from_avro(cls, record: Mapping[str, Any]) -> Self:
        """The record from decoded values; a missing field takes its default."""
        known = {name: record[name] for name in _names(cls) if name in record}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in known.items()})


def _names(cls: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cls))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, _Record):
        return value.to_avro()
    return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(_Record):
    """One tick of one host for one run; `kind` to `memory_bytes` are parallel, one item a device."""

    collector_id: str
    seq: int
    host: str
    run_id: str | None = None
    zone: str
    start: int
    end: int
    kind: tuple[int, ...]
    method: tuple[int, ...]
    energy_uj: tuple[int, ...]
    device: tuple[str, ...]
    utilization: tuple[float, ...]
    temperature_c: tuple[float, ...]
    memory_bytes: tuple[int, ...]
    flags: tuple[str, ...] = ()
    cpu_time_us: int = -1
    disk_read_bytes: int = -1
    disk_write_bytes: int = -1
    network_rx_bytes: int = -1
    network_tx_bytes: int = -1
    water_ul: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity(_Record):
    """Carbon intensity of a zone in one period, with water and price where known."""

    zone: str
    valid_from: int
    valid_to: int
    intensity_g_per_kwh: float
    kind: str
    signal: str
    provider: str
    dataset: str
    revision: int
    published_at: int
    factor: str = "lifecycle"
    water_l_per_kwh: float | None = None
    price_per_kwh: float | None = None
    currency: str | None = None
    renewable: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware(_Record):
    """One device of a host, inside a `RunEvent`."""

    device: str
    kind: int
    model: str | None = None
    uuid: str | None = None
    tdp_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent(_Record):
    """Something that happened to a run; None means that the event does not say."""

    event_id: str
    run_id: str
    type: str
    at: int
    host: str | None = None
    rank: int | None = None
    phase: str | None = None
    epoch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    user: str | None = None
    team: str | None = None
    project: str | None = None
    model: str | None = None
    framework: str | None = None
    dataset: str | None = None
    environment: str | None = None
    zone: str | None = None
    pue: float | None = None
    wue_l_per_kwh: float | None = None
    hardware: tuple[Hardware, ...] = ()
    budget_energy_uj: int | None = None
    budget_emissions_g: float | None = None
    budget_water_l: float | None = None
    budget_cost: float | None = None
    status: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_avro(cls, record: Mapping[str, Any]) -> Self:
        """The event from decoded values, its hardware as `Hardware`."""
        hardware = tuple(Hardware.from_avro(each) for each in record.get("hardware", ()))
        # super() without arguments fails in a class that slots=True has made anew
        return super(RunEvent, cls).from_avro({**record, "hardware": hardware})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(_Record):
    """A record that was not counted, with its bytes as read and why; `verdict` is `dead`, `rejected` or `gone`.

    What is gone was never read: it has no bytes, and a range of offsets is its position.
    """

    source: str
    position: str
    verdict: str
    reason: str
    schema_id: int | None = None
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(_Record):
    """A budget was used up to a threshold; `alert_id` is the same for a repeat."""

    alert_id: str
    at: int
    run_id: str
    scope: str
    budget: str
    threshold: float
    used: float
    limit_value: float
    budget_version: str = ""

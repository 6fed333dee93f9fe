"""The tables of the store, one description for both homes: names, columns, keys, types.

`cassandra/*.cql` says the same in CQL and a contract test holds the two equal. Rows travel as tuples in the order of
`Table.columns`; `version` is not among them, it is given once a flush. The meaning of each column is in
`docs/semantics.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

SCHEMA_VERSION = 1
"""Number of the last `cassandra/NNN_*.cql`; raise it with every change of the tables."""


class Kind(StrEnum):
    """What a column holds, None apart.

    In Python: str, int, int (unbounded), float, int µs UTC, str `YYYY-MM-DD`, bool.
    """

    TEXT = "text"
    BIGINT = "bigint"
    VARINT = "varint"
    DOUBLE = "double"
    INSTANT = "instant"
    DATE = "date"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns in order, the first of which are the partition key and the clustering columns."""

    name: str
    partition: tuple[str, ...]
    clustering: tuple[str, ...]
    columns: Mapping[str, Kind]

    @property
    def key(self) -> tuple[str, ...]:
        """Partition and clustering columns: what a row is about."""
        return self.partition + self.clustering

    def check_partition(self, partition: Mapping[str, Any]) -> None:
        """Raise ValueError unless *partition* has exactly the columns of the partition key."""
        if set(partition) != set(self.partition):
            raise ValueError(
                f"{self.name} is read by ({', '.join(self.partition)}), not by ({', '.join(partition)}); "
                "give a value for each"
            )


def _table(name: str, partition: str, clustering: str, columns: str) -> Table:
    pairs = (word.split(":") for word in columns.split())
    typed = {column: Kind(kind) for column, kind in pairs}
    return Table(name, tuple(partition.split()), tuple(clustering.split()), MappingProxyType(typed))


def _energy(kind: str) -> str:
    names = "energy_uj cpu_uj gpu_uj memory_uj other_uj estimated_uj unpriced_uj"
    return " ".join(f"{name}:{kind}" for name in names.split())


_PRICED = (
    "emissions_g:double water_l:double cost:double currency:text "
    "intensity_g_per_kwh:double intensity_kind:text zone_level:text"
)
_WINDOW = f"{_energy('bigint')} {_PRICED} samples:bigint coverage:double power_w_max:double final:boolean"
_TOTAL = (
    f"{_energy('varint')} {_PRICED} samples:bigint coverage:double power_w_max:double cpu_time_us:varint "
    "memory_bytes_max:bigint disk_bytes:varint network_bytes:varint gpus:bigint hosts:bigint "
    "first_start:instant last_end:instant"
)
_RUN = (
    "status:text name:text user:text team:text project:text model:text framework:text dataset:text environment:text "
    "zone:text pue:double wue_l_per_kwh:double labels:text hardware:text "
    "started_at:instant ended_at:instant first_seen:instant last_seen:instant"
)


def _window(name: str) -> Table:
    return _table(name, "run_id date", "window_start", f"run_id:text date:date window_start:instant {_WINDOW}")


_ALL = (
    _table("run", "run_id", "", f"run_id:text {_RUN}"),
    _table("run_total", "run_id", "", f"run_id:text {_TOTAL}"),
    _table(
        "phase_total", "run_id", "phase", f"run_id:text phase:text duration_us:bigint {_energy('varint')} {_PRICED}"
    ),
    _window("run_window_5s"),
    _window("run_window_5m"),
    _window("run_window_1h"),
    _table(
        "device_window_5m",
        "run_id date host",
        "window_start device",
        "run_id:text date:date host:text window_start:instant device:text kind:bigint energy_uj:bigint "
        "estimated_uj:bigint samples:bigint utilization:double temperature_c_max:double memory_bytes_max:bigint "
        "final:boolean",
    ),
    _table(
        "zone_window_1h",
        "zone date",
        "window_start",
        f"zone:text date:date window_start:instant {_energy('varint')} {_PRICED} runs:bigint final:boolean",
    ),
    _table(
        "run_metric",
        "run_id date",
        "at event_id",
        "run_id:text date:date at:instant event_id:text type:text epoch:bigint "
        "loss:double accuracy:double samples:double tokens:double",
    ),
    _table(
        "runs_by_date",
        "date",
        "started_at run_id",
        "date:date started_at:instant run_id:text status:text user:text project:text model:text name:text",
    ),
    _table(
        "intensity",
        "zone date",
        "valid_from valid_to signal provider kind revision",
        "zone:text date:date valid_from:instant valid_to:instant signal:text provider:text kind:text revision:bigint "
        "intensity_g_per_kwh:double dataset:text published_at:instant factor:text water_l_per_kwh:double "
        "price_per_kwh:double currency:text renewable:double",
    ),
    _table(
        "late",
        "run_id date",
        "collector_id seq",
        "run_id:text date:date collector_id:text seq:bigint host:text start:instant end:instant "
        "late_5s_uj:bigint late_5m_uj:bigint late_1h_uj:bigint",
    ),
    _table(
        "restatement",
        "run_id date",
        "at restatement_id",
        "run_id:text date:date at:instant restatement_id:text zone:text valid_from:instant valid_to:instant "
        "old_g_per_kwh:double new_g_per_kwh:double old_emissions_g:double new_emissions_g:double "
        "reason:text applied:boolean",
    ),
    _table(
        "alert",
        "date",
        "at alert_id",
        "date:date at:instant alert_id:text run_id:text scope:text budget:text threshold:double used:double "
        "limit_value:double",
    ),
    _table(
        "accounting",
        "source_partition",
        "",
        "source_partition:text sent:bigint counted:bigint duplicate:bigint rejected:bigint dead:bigint lost:bigint "
        "position:text",
    ),
)

TABLES: Mapping[str, Table] = MappingProxyType({table.name: table for table in _ALL})
"""Every table of the store by its name."""

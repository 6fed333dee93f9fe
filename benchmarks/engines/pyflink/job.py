"""The job in PyFlink SQL: a Python table function makes priced pieces, SQL does the rest."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tick
from pyflink.common import JobStatus
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import FunctionContext, TableFunction, udtf
from tick import SLOT_US, WIDE_US, Intensities, decoder, pieces, setting

LIVE = setting("MODE") == "live"
LATENESS_US = int(setting("LATENESS_S")) * 1_000_000
SUMS = ("energy_uj", "cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj")
KEYS = {
    "collector_id": "STRING",
    "seq": "BIGINT",
    "run_id": "STRING",
    "slot": "BIGINT",
    "ends": "BIGINT",
    "heads": "INT",
}


class Pieces(TableFunction):
    """A message → its priced pieces; one row of nulls if it cannot be decoded. `heads`: 1 in a tick's first piece."""

    def __init__(self, intensities: Intensities) -> None:
        self.intensities = intensities

    def open(self, function_context: FunctionContext) -> None:
        self.decode = decoder("sample", last="energy_uj")

    def eval(self, value: bytes) -> Iterator[tuple[Any, ...]]:
        record = self.decode(value)
        if record is None:
            yield (None,) * (len(KEYS) + len(SUMS) + 1)
            return
        name, seq, run, zone, end = (record[key] for key in ("collector_id", "seq", "run_id", "zone", "end"))
        for number, (slot, sums) in enumerate(pieces(record)):
            heads = 1 if number == 0 else 0
            yield (name, seq, run, slot, end, heads, *sums, self.intensities.grams(zone, slot, sums[0]))


TYPES = {"STRING": DataTypes.STRING(), "BIGINT": DataTypes.BIGINT(), "INT": DataTypes.INT()}
RESULT = [*(TYPES[kind] for kind in KEYS.values()), *([DataTypes.BIGINT()] * len(SUMS)), DataTypes.DOUBLE()]
KAFKA = f"'properties.bootstrap.servers' = '{setting('BOOTSTRAP')}'"
BOUNDED = ", 'scan.bounded.mode' = 'latest-offset'"


def source(name: str, topic: str, bounded: bool) -> str:
    return f"""CREATE TEMPORARY TABLE {name} (`value` BYTES, pt AS PROCTIME()) WITH ('connector' = 'kafka', {KAFKA},
        'topic' = '{topic}', 'properties.group.id' = '{setting("GROUP")}', 'format' = 'raw',
        'scan.startup.mode' = 'earliest-offset', 'properties.check.crcs' = 'false'{BOUNDED if bounded else ""})"""


def sink(name: str, number: int, columns: str) -> str:
    return f"""CREATE TEMPORARY TABLE {name} (`key` STRING, {columns}, PRIMARY KEY (`key`) NOT ENFORCED) WITH (
        'connector' = 'upsert-kafka', {KAFKA}, 'topic' = '{setting("OUTPUT")}-{number}', 'key.format' = 'raw',
        'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY', 'properties.linger.ms' = '20')"""


# The order of the source counts for a collector's clock, so it comes before the deduplication, which works in batches.
VIEWS = {
    "piece": f"""SELECT p.*, s.pt FROM samples AS s, LATERAL TABLE(pieces(s.`value`)) AS p
        ({", ".join((*KEYS, *SUMS, "emissions_g"))})""",
    "sound": f"""SELECT *, (ends - 1) / {WIDE_US} * {WIDE_US} + {WIDE_US + LATENESS_US + SLOT_US} <= MAX(ends) OVER (
        PARTITION BY collector_id ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS late
        FROM piece WHERE collector_id IS NOT NULL""",
    "fresh": """SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY collector_id, seq, slot ORDER BY pt) AS n
        FROM sound) WHERE n = 1""",
}


def window(size: int) -> str:
    start, sums = f"slot - MOD(slot, {size * 1_000_000})", ", ".join(f"SUM({name})" for name in (*SUMS, "emissions_g"))
    return f"""INSERT INTO windows SELECT CONCAT(run_id, '|{size}|', CAST({start} AS STRING)), {sums}
        FROM fresh WHERE NOT late GROUP BY run_id, {start}"""


INSERTS = (
    window(5),
    window(300),
    """INSERT INTO totals SELECT /*+ STATE_TTL('fresh' = '0s') */ CONCAT(run_id, '|total|0'), SUM(energy_uj),
        SUM(emissions_g) FROM fresh GROUP BY run_id""",
    """INSERT INTO counts SELECT /*+ STATE_TTL('c' = '0s') */ CONCAT('count|', kind, '|0'), SUM(n) FROM (
        SELECT 'dead' AS kind, CAST(1 AS BIGINT) AS n FROM piece WHERE collector_id IS NULL
        UNION ALL SELECT 'late', CAST(heads AS BIGINT) FROM fresh WHERE late
        UNION ALL SELECT 'duplicate', CAST(heads AS BIGINT) FROM sound
        UNION ALL SELECT 'duplicate', CAST(-heads AS BIGINT) FROM fresh) AS c GROUP BY kind""",
)


def environment() -> TableEnvironment:
    state = Path(setting("STATE"))
    settings = {
        "pipeline.jars": ";".join(jar.as_uri() for jar in Path(os.environ["FLINK_JARS"]).glob("*.jar")),
        "python.executable": sys.executable,
        "python.execution-mode": os.environ.get("PYMODE", "process"),
        "parallelism.default": setting("PARALLELISM"),
        "pipeline.object-reuse": "true",
        "table.exec.mini-batch.enabled": "true",
        "table.exec.mini-batch.allow-latency": "500 ms",
        "table.exec.mini-batch.size": "20000",
        # A key of the output is made of what is grouped by, so no two groups meet in one.
        "table.exec.sink.upsert-materialize": "NONE",
        "table.exec.sink.require-on-conflict": "false",
        # A repeat comes soon and a window gets nothing after an hour; only totals and counts are kept for ever.
        "table.exec.state.ttl": "1 h",
    }
    if LIVE:
        settings |= {
            "execution.checkpointing.interval": "5 s",
            "execution.checkpointing.dir": state.as_uri(),
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        }
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for name, value in settings.items():
        tables.get_config().set(name, value)
    tables.add_python_file(tick.__file__)
    return tables


def go_on(tables: TableEnvironment) -> None:
    """From the last checkpoint, if there is one; set for the job only, reading intensities has none."""
    saved = sorted(Path(setting("STATE")).glob("*/chk-*/_metadata"), key=lambda path: path.stat().st_mtime)
    if saved:
        tables.get_config().set("execution.state-recovery.path", saved[-1].parent.as_uri())


def prepare(tables: TableEnvironment, number: int, intensities: Intensities) -> Any:
    """The inserts of one pass as one job."""
    tables.drop_temporary_function("pieces")
    tables.create_temporary_function("pieces", udtf(Pieces(intensities), result_types=RESULT))
    for name in ("samples", "windows", "totals", "counts"):
        tables.execute_sql(f"DROP TEMPORARY TABLE IF EXISTS {name}")
    tables.execute_sql(source("samples", setting("SAMPLES"), bounded=not LIVE))
    tables.execute_sql(sink("windows", number, ", ".join(f"{name} BIGINT" for name in SUMS) + ", emissions_g DOUBLE"))
    tables.execute_sql(sink("totals", number, "energy_uj BIGINT, emissions_g DOUBLE"))
    tables.execute_sql(sink("counts", number, "n BIGINT"))
    for name, query in VIEWS.items():
        tables.execute_sql(f"CREATE TEMPORARY VIEW IF NOT EXISTS {name} AS {query}")
    inserts = tables.create_statement_set()
    for insert in INSERTS:
        inserts.add_insert_sql(insert)
    return inserts


def main() -> None:
    tables = environment()
    tables.execute_sql(source("intensity", setting("INTENSITY"), bounded=True))
    with tables.execute_sql("SELECT `value` FROM intensity").collect() as rows:
        intensities = Intensities([bytes(row[0]) for row in rows])
    if LIVE:
        go_on(tables)
        job = prepare(tables, 1, intensities).execute().get_job_client()
        while job.get_job_status().result() != JobStatus.RUNNING:
            time.sleep(0.1)
        print("BENCH ready", flush=True)
        job.get_job_execution_result().result()
    for number in range(1, int(setting("PASSES")) + 1):
        print(f"BENCH start {number}", flush=True)
        prepare(tables, number, intensities).execute().wait()
        print(f"BENCH end {number}", flush=True)


if __name__ == "__main__":
    main()

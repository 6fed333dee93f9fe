"""The job in Spark Structured Streaming: Avro, cut and price in SQL, one shuffle by run, state in pandas.

from_avro and array functions make pieces, a broadcast join prices them, and one applyInPandasWithState per run holds
what the built-in windows cannot: totals with late ticks, and the counts.
"""

import json
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.streaming.state import GroupState, GroupStateTimeout

SLOT_US, WIDE_US, RING = 5_000_000, 300_000_000, 2_048
LATENESS_US = int(os.environ["BENCH_LATENESS_S"]) * 1_000_000
KEPT_US = 3_600_000_000
MASK = (1 << RING) - 1
COLUMNS = ["energy_uj", "cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj", "emissions_g"]
DEAD = "~dead"


def setting(name: str) -> str:
    return os.environ[f"BENCH_{name}"]


def schema(name: str, last: str | None = None) -> str:
    """The writer's schema without logical types, cut after field *last*: what follows is not read."""
    said = json.loads(Path(setting("SCHEMAS"), f"{name}.avsc").read_text())
    names = [field["name"] for field in said["fields"]]
    said["fields"] = said["fields"][: names.index(last) + 1 if last else None]
    for field in said["fields"]:
        if isinstance(field["type"], dict):
            field["type"].pop("logicalType", None)
    return json.dumps(said)


def decoded(messages: DataFrame, parsed: str) -> DataFrame:
    """Column t: the record; null where a message cannot be decoded."""
    record = from_avro(F.expr("substring(value, 6)"), parsed, {"mode": "PERMISSIVE"})
    return messages.withColumn("t", F.when(F.expr("substring(value, 1, 1) = X'00'"), record))


def kafka(reader: Any, topic: str) -> Any:
    return reader.format("kafka").option("kafka.bootstrap.servers", setting("BOOTSTRAP")).option("subscribe", topic)


def prices(spark: SparkSession) -> DataFrame:
    """The intensity that counts, per zone and 5 minutes; the topic is complete before the first sample."""
    rows = decoded(kafka(spark.read, setting("INTENSITY")).load(), schema("intensity")).where("t IS NOT NULL")
    slots = rows.selectExpr("t.*", f"explode(sequence(t.valid_from, t.valid_to - 1, {WIDE_US})) AS wide")
    rank = F.struct(F.expr("kind = 'actual'"), "revision")
    best = slots.groupBy("zone", "wide").agg(F.max_by("intensity_g_per_kwh", rank).alias("intensity"))
    return F.broadcast(best.cache())


def pieces(messages: DataFrame) -> DataFrame:
    """A row per tick and 5-s window that it touches; a message that cannot be decoded is a row of run DEAD."""
    ticks = decoded(messages, schema("sample", last="energy_uj")).select("partition", "offset", "t.*")
    slot = f"explode_outer(sequence(start - start % {SLOT_US}, end - 1, {SLOT_US})) AS slot"
    cut = ticks.selectExpr("*", slot, "end - start AS d").selectExpr(
        "*", "greatest(slot, start) - start AS lo", f"least(slot + {SLOT_US}, end) - start AS hi"
    )
    # floor(E * x / d) without leaving 64 bits: E = q * d + r, and r * x < 3,000 s squared.
    part = "((e div d) * {0} + ((e % d) * {0}) div d)"
    split = f"transform(energy_uj, e -> {part.format('hi')} - {part.format('lo')})"
    parts = cut.selectExpr("*", f"CASE WHEN lo = 0 AND hi = d THEN energy_uj ELSE {split} END AS parts")

    def total(column: str, test: str) -> str:
        return f"aggregate(zip_with({column}, parts, (c, e) -> IF({test}, e, 0L)), 0L, (a, e) -> a + e)"

    return parts.selectExpr(
        *("partition", "offset", f"coalesce(run_id, '{DEAD}') AS run", "collector_id", "seq", "zone", "slot", "end"),
        f"slot - slot % {WIDE_US} AS wide",
        "aggregate(parts, 0L, (a, e) -> a + e) AS energy_uj",
        *(f"{total('kind', f'c = {code}')} AS {name}_uj" for code, name in enumerate(("cpu", "gpu", "memory"), 1)),
        f"{total('kind', 'c < 1 OR c > 3')} AS other_uj",
        f"{total('method', 'c < 1 OR c > 3')} AS estimated_uj",
    )


class Run:
    """The state of a run: what its collectors have sent, its open windows, its totals and counts."""

    def __init__(self, saved: bytes | None) -> None:
        self.collectors: dict[str, tuple[int, int, int]] = {}
        self.windows: dict[tuple[int, int], list[Any]] = {}
        self.total: list[Any] = [0, 0.0]
        self.counts = {"duplicate": 0, "late": 0}
        if saved is not None:
            vars(self).update(pickle.loads(saved))

    def verdict(self, name: str, seq: int, end: int) -> str:
        """duplicate, late or on time; the clock is that of the collector, one of a partition's."""
        newest, bits, clock = self.collectors.get(name, (-1, 0, 0))
        ahead = seq - newest
        if ahead <= 0 and bits >> -ahead & 1:
            return "duplicate"
        bits = (bits << min(ahead, RING) | 1) & MASK if ahead > 0 else bits | 1 << -ahead
        clock = max(clock, end)
        self.collectors[name] = max(newest, seq), bits, clock
        last = (end - 1) // WIDE_US * WIDE_US + WIDE_US
        return "late" if last + LATENESS_US <= clock - 5_000_000 else "on time"

    def take(self, rows: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
        """Rows of pieces in; rows of the output that changed out."""
        rows = rows.sort_values(["partition", "offset", "slot"])
        firsts = ~rows.duplicated(["partition", "offset"])
        said = [
            self.verdict(*each) for each in rows.loc[firsts, ["collector_id", "seq", "end"]].itertuples(index=False)
        ]
        verdict = pd.Series(said, dtype=object).take(firsts.cumsum() - 1).set_axis(rows.index)
        for kind, number in pd.Series(said, dtype=object).value_counts().items():
            if kind in self.counts:
                self.counts[kind] += int(number)
                yield f"count|{kind}", {"n": self.counts[kind]}
        new = rows[verdict != "duplicate"]
        self.total = [self.total[0] + int(new["energy_uj"].sum()), self.total[1] + float(new["emissions_g"].sum())]
        yield "total|0", dict(zip(("energy_uj", "emissions_g"), self.total, strict=True))
        on_time = rows[verdict == "on time"]
        for size, column in ((5, "slot"), (300, "wide")):
            sums = on_time.groupby(column)[COLUMNS].sum()
            for at, *added in zip(sums.index.tolist(), *(sums[name].tolist() for name in COLUMNS), strict=True):
                before = self.windows.get((size, at), [0] * len(COLUMNS))
                self.windows[size, at] = [a + b for a, b in zip(before, added, strict=True)]
                yield f"{size}|{at}", dict(zip(COLUMNS, self.windows[size, at], strict=True))
        oldest = max(clock for _, _, clock in self.collectors.values()) - KEPT_US
        self.windows = {key: value for key, value in self.windows.items() if key[1] > oldest}


def update(key: tuple[str], frames: Iterator[pd.DataFrame], state: GroupState) -> Iterator[pd.DataFrame]:
    """The function of applyInPandasWithState: one run, the pieces of a micro-batch."""
    name, rows, saved = key[0], pd.concat(frames), state.get[0] if state.exists else None
    if name == DEAD:
        dead = (pickle.loads(saved) if saved else 0) + len(rows)
        state.update((pickle.dumps(dead),))
        found = [("count|dead|0", {"n": dead})]
    else:
        run = Run(saved)
        changed = list(run.take(rows))
        state.update((pickle.dumps(vars(run)),))
        found = [(f"{k}|{name}" if k.startswith("count|") else f"{name}|{k}", value) for k, value in changed]
    yield pd.DataFrame({"key": [k for k, _ in found], "value": [json.dumps(value) for _, value in found]})


def start(spark: SparkSession, number: int, live: bool) -> Any:
    source = kafka(spark.readStream, setting("SAMPLES")).option("startingOffsets", "earliest")
    cut = pieces(source.option("maxOffsetsPerTrigger", 200_000).load().coalesce(int(setting("PARALLELISM"))))
    grams = F.expr("coalesce(energy_uj * intensity / 3.6e12D, 0D)").alias("emissions_g")
    priced = cut.join(prices(spark), ["zone", "wide"], "left").select("*", grams).drop("intensity", "zone")
    rows = priced.groupBy("run").applyInPandasWithState(
        update, "key string, value string", "state binary", "update", GroupStateTimeout.NoTimeout
    )
    writer = rows.writeStream.format("kafka").option("kafka.bootstrap.servers", setting("BOOTSTRAP"))
    writer = writer.option("topic", f"{setting('OUTPUT')}-{number}").option("kafka.compression.type", "lz4")
    writer = writer.option("checkpointLocation", f"{setting('STATE')}/{number}").outputMode("update")
    return (writer.trigger(processingTime="500 milliseconds") if live else writer.trigger(availableNow=True)).start()


def session() -> SparkSession:
    cores = setting("PARALLELISM")
    settings = {
        "spark.jars": ",".join(str(jar) for jar in Path(os.environ["SPARK_JARS"]).glob("*.jar")),
        "spark.driver.memory": "3g",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": cores,
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.streaming.stateStore.providerClass": "org.apache.spark.sql.execution.streaming.state."
        "RocksDBStateStoreProvider",
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    }
    builder = SparkSession.builder.master(f"local[{cores}]").appName("bench")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def main() -> None:
    spark, out = session(), sys.stdout
    spark.sparkContext.setLogLevel("WARN")
    if setting("MODE") == "live":
        query = start(spark, 1, live=True)
        print("BENCH ready", file=out, flush=True)
        query.awaitTermination()
    for number in range(1, int(setting("PASSES")) + 1):
        print(f"BENCH start {number}", file=out, flush=True)
        start(spark, number, live=False).awaitTermination()
        print(f"BENCH end {number}", file=out, flush=True)
    spark.stop()


if __name__ == "__main__":
    main()

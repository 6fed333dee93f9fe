"""The emissions job: samples and control records to ledger shards to zone shards to rows."""

from collections.abc import Callable

from kappawatt.emissions import control, samples
from kappawatt.emissions.names import KEYS, Keys
from kappawatt.emissions.reading import OpenReader
from kappawatt.emissions.steps import ShardLogic, ZoneLogic
from kappawatt.ledger.config import LedgerConfig
from kappawatt.stream.job import Job, Runtime, Step
from kappawatt.units import US_PER_H
from kappawatt.wire.decode import SampleDecoder


def emissions_job(
    config: LedgerConfig,
    runtime: Runtime,
    *,
    open_bucket: OpenReader,
    open_topic: OpenReader,
    decoder: Callable[[], SampleDecoder],
    schema_of: control.SchemaOf,
    bounded: bool,
    final: bool,
    idle_us: int,
    keys: Keys = KEYS,
) -> Job:
    """The whole job.

    Args:
        config: The numbers that decide about rows.
        runtime: The process that it runs in.
        open_bucket: Opens the reader of a bucket of samples by its name and kept positions.
        open_topic: Opens the reader of all partitions of topic `intensity` or `run_event`.
        decoder: Makes a decoder of samples.
        schema_of: Writer schemas of the other topics by registry id.
        bounded: Read the log to where it ends at the start, and go.
        final: Then write everything as final; without it the end is only a place to go on from.
        idle_us: How long a source partition is silent at its end until it holds nobody back.
        keys: The keys of the job; fewer than the product's are for tests.

    Raises:
        ValueError: The ledger and the keys differ in the number of shards.
    """
    if config.shards != len(keys.shards):
        raise ValueError(f"the ledger has {config.shards} shards and the job {len(keys.shards)}; make them equal")
    return Job(
        "emissions",
        sources=(
            samples.source(
                config, open_bucket, decoder, runtime, bounded=bounded, final=final, idle_us=idle_us, keys=keys
            ),
            control.source(config, open_topic, schema_of, runtime, bounded=bounded, keys=keys),
        ),
        steps=emissions_steps(config, runtime, keys),
    )


def emissions_steps(config: LedgerConfig, runtime: Runtime, keys: Keys = KEYS) -> tuple[Step, ...]:
    """What follows the sources: ledger shards, and zone shards behind them."""
    horizon_hours = config.horizon_us // US_PER_H
    return (
        Step("ledger", keys.shards, lambda name, state: ShardLogic(name, state, config, runtime, keys)),
        Step("zones", keys.zones, lambda name, state: ZoneLogic(name, state, horizon_hours)),
    )

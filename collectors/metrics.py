"""What the host agent tells Prometheus: what it measured, and whether it reaches the log."""

from collections.abc import Iterator, Sequence

from kappawatt.metrics import KeptCounter, counter, gauge, histogram, serve
from kappawatt.outlet import Outlet
from kappawatt.units import US_PER_S
from kappawatt.wire.codes import DeviceKind, Method
from kappawatt.wire.records import Sample

__all__ = ["TURN_S", "count", "serve", "watch"]

_UJ_PER_J = 1e6

SAMPLES = counter("agent_samples", "Samples written.", ["attributed"])
ENERGY = counter("agent_energy_joules", "Energy of the samples written.", ["kind", "method"])
TURN_S = histogram(
    "agent_turn_seconds", "How long a look at all sensors took.", [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]
)
LAST = gauge("agent_last_sample_seconds", "End of the newest sample written, s since 1970.")
SPOOL_BYTES = gauge("agent_spool_bytes", "Bytes that wait for Kafka, or were shipped and not yet removed.")
SPOOL_AGE = gauge("agent_spool_age_seconds", "Age of the oldest file that waits for Kafka.")
TROUBLE = gauge("agent_trouble", "1 while the disk takes nothing or nothing is shipped.")


class _Of:
    """One number of an outlet."""

    def __init__(self, outlet: Outlet, name: str) -> None:
        self._outlet, self._name = outlet, name

    def now(self) -> Iterator[tuple[Sequence[str], float]]:
        """The number, without labels."""
        yield (), getattr(self._outlet, self._name)


def watch(outlet: Outlet) -> None:
    """Tell of *outlet* from now on; once a process."""
    KeptCounter("agent_shipped_records", "Records that Kafka acknowledged.", (), _Of(outlet, "shipped"))
    KeptCounter("agent_lost_records", "Records that the spool gave up, ever.", (), _Of(outlet, "lost"))
    SPOOL_BYTES.set_function(lambda: outlet.backlog()[0])
    SPOOL_AGE.set_function(lambda: outlet.backlog()[1])
    TROUBLE.set_function(lambda: outlet.trouble is not None)


def count(samples: Sequence[Sample]) -> None:
    """Take samples that were written."""
    for sample in samples:
        SAMPLES.labels("no" if sample.run_id is None else "yes").inc()
        LAST.set(sample.end / US_PER_S)
        for kind, method, energy_uj in zip(sample.kind, sample.method, sample.energy_uj, strict=True):
            names = DeviceKind(kind).name.lower(), Method(method).name.lower()
            ENERGY.labels(*names).inc(energy_uj / _UJ_PER_J)

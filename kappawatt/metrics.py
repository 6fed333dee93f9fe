"""Numbers of a running program for Prometheus: one registry a process, served where `metrics` says. Names begin with
`kappawatt_`; what a number means stands in docs/metrics.md, which a test holds to what is served.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import kappawatt
from kappawatt.errors import SettingsError

PREFIX = "kappawatt_"
REGISTRY = CollectorRegistry(auto_describe=True)
"""What this process serves; its own CPU, memory and files are in it."""

ProcessCollector(registry=REGISTRY)


def counter(name: str, about: str, labels: Sequence[str] = ()) -> Counter:
    """A number that only grows; its name ends with `_total` when it is served."""
    return Counter(PREFIX + name, about, labels, registry=REGISTRY)


def gauge(name: str, about: str, labels: Sequence[str] = ()) -> Gauge:
    """A number that goes up and down."""
    return Gauge(PREFIX + name, about, labels, registry=REGISTRY)


def histogram(name: str, about: str, buckets: Sequence[float]) -> Histogram:
    """How often a number was at most each of *buckets*, how often in all, and their sum."""
    return Histogram(PREFIX + name, about, registry=REGISTRY, buckets=buckets)


class Kept(Protocol):
    """Numbers that something else counts."""

    def now(self) -> Iterable[tuple[Sequence[str], float]]:
        """Label values, and how much it is by now."""


class KeptCounter(Collector):
    """A counter of what something else counts, read when it is asked for."""

    def __init__(self, name: str, about: str, labels: Sequence[str], kept: Kept) -> None:
        self._name, self._about, self._labels, self._kept = PREFIX + name, about, labels, kept
        REGISTRY.register(self)

    def __repr__(self) -> str:
        return f"<KeptCounter {self._name}>"

    def collect(self) -> Iterable[Metric]:
        """The family, once."""
        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for values, amount in self._kept.now():
            family.add_metric(values, amount)
        yield family


def serve(address: str, program: str, *, above: int = 0) -> int:
    """Serve the registry at `http://ADDRESS/metrics` from a daemon thread; the port.

    Args:
        address: HOST:PORT; port 0 is any free one.
        program: Which program this is, for `kappawatt_build_info`.
        above: Added to the port: processes of one program on one machine have one each.

    Raises:
        SettingsError: The address cannot be used.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) + above > 65_535:
        raise SettingsError(f"metrics={address!r} is not HOST:PORT, for example 127.0.0.1:9464")
    listening = int(port) + above if int(port) else 0
    try:
        server, _ = start_http_server(listening, host.removeprefix("[").removesuffix("]"), REGISTRY)
    except OSError as error:
        raise SettingsError(
            f"metrics={address!r}: cannot listen on port {listening}: {error.strerror or error}"
        ) from error
    Info(PREFIX + "build", "Version and kind of this program.", registry=REGISTRY).info(
        {"version": kappawatt.__version__, "program": program}
    )
    return int(server.server_port)

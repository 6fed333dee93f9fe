"""What can be measured on this machine and reached from it, and what mends the rest."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kappawatt.errors import KappawattError
from kappawatt.log import urls
from kappawatt.programs import missing
from kappawatt.sensors.selection import Choice, choose
from kappawatt.settings import Settings, masked
from kappawatt.stores import open_store
from kappawatt.wire.codes import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFinding:
    """How one device is measured: asked source, whether it answers, whether its counter goes on, and the exact fix."""

    device: str
    kind: str
    source: str
    readable: bool
    advancing: bool | None
    """None: it has no counter to watch."""
    method: str
    reason: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFinding:
    """Whether the log, the registry or the store can be used."""

    what: str
    url: str
    usable: bool
    found: str


def devices(settings: Settings) -> list[DeviceFinding]:
    """Every device, with each counter watched (a second at most)."""
    return [_device(choice) for choice in choose(Path(settings.powercap), cpu_tdp_w=settings.cpu_tdp_w)]


def places(settings: Settings) -> Iterator[PlaceFinding]:
    """The log, the registry if one is set, and the store, asked one after the other."""
    yield _log(settings)
    if settings.registry:
        yield _registry(settings)
    yield _store(settings)


def measurable(found: list[DeviceFinding]) -> bool:
    """At least one device gives energies, if only by a model."""
    return any(finding.method != "none" for finding in found)


def _device(choice: Choice) -> DeviceFinding:
    counter = choice.method == Method.COUNTER
    stuck = "stood still" in choice.reason or "stands still" in choice.reason
    return DeviceFinding(
        device=choice.device,
        kind=choice.kind.name.lower(),
        source=choice.source,
        readable=choice.method.measured,
        advancing=True if counter else False if stuck else None,
        method=choice.method.name.lower() if choice.method else "none",
        reason=choice.reason,
        fix=choice.fix,
    )


def _log(settings: Settings) -> PlaceFinding:
    try:
        url = urls.parse(settings.log)
        found = _folder(url.directory) if isinstance(url, urls.FileUrl) else _kafka(url.bootstrap, settings)
    except (KappawattError, ModuleNotFoundError) as error:
        return _unusable("log", settings.log, error)
    return PlaceFinding(what="log", url=masked(settings.log), usable=True, found=found)


def _kafka(bootstrap: str, settings: Settings) -> str:
    from kappawatt.log.kafka import KafkaLog

    topics = KafkaLog(bootstrap, settings.registry, settings.topic_prefix).topics()
    if not topics:
        return "answers; our topics are not made yet: kappawatt schema register, or the first collector, makes them"
    return "answers; partitions: " + ", ".join(f"{name} {count}" for name, count in topics.items())


def _registry(settings: Settings) -> PlaceFinding:
    url = settings.registry or ""
    try:
        from kappawatt.wire.registry import Registry

        refused = Registry(url, topic_prefix=settings.topic_prefix).check("sample")
    except (KappawattError, ModuleNotFoundError) as error:
        return _unusable("registry", url, error)
    return PlaceFinding(what="registry", url=masked(url), usable=refused is None, found=refused or "takes our schemas")


def _store(settings: Settings) -> PlaceFinding:
    kind, _, rest = settings.store.partition(":")
    try:
        found = _folder(Path(rest).parent) if kind == "sqlite" and not Path(rest).exists() else _tables(settings.store)
    except (KappawattError, ModuleNotFoundError) as error:
        return _unusable("store", settings.store, error)
    return PlaceFinding(what="store", url=masked(settings.store), usable=True, found=found)


def _tables(url: str) -> str:
    store = open_store(url, read_only=True)
    try:
        return f"has its tables (id {store.store_id()})"
    finally:
        store.close()


def _unusable(what: str, url: str, error: Exception) -> PlaceFinding:
    told = missing(what, error) if isinstance(error, ModuleNotFoundError) else error
    return PlaceFinding(what=what, url=masked(url), usable=False, found=str(told))


def _folder(path: Path) -> str:
    """What may be done with a folder, without making it."""
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise KappawattError(f"{nearest} cannot be written by this user; chown it or name another place")
    return "can be written" if path.exists() else "will be made"

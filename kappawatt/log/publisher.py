"""Shipping a spool to Kafka: in order, with the place up to which everything is acknowledged kept on disk."""

import logging
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from kappawatt.errors import KappawattError, LogError
from kappawatt.log import names
from kappawatt.log.failures import Failure
from kappawatt.log.kafka import PARTITIONS, KafkaLog, KafkaProducer
from kappawatt.log.shipment import Shipment
from kappawatt.log.slots import Slot, slots
from kappawatt.log.tail import Position
from kappawatt.retry import Outage
from kappawatt.wire import codec

if TYPE_CHECKING:
    from kappawatt.settings import Settings

_logger = logging.getLogger(__name__)
_IDLE_S = 1.0
"""How long new records go unseen if nobody calls `wake`."""
_ACK_S = 0.5
"""How long is waited at a time for an acknowledgement; it ends the wait."""
_SCAN_S = 10.0
"""How long a slot that nobody ships goes unseen if no file came or went."""
_TIMES_NS = 100_000_000
_CLOSE_S = 2.0


class Ids(Protocol):
    """Gives the registry's id of a topic's schema; raises KappawattError while it cannot."""

    def register(self, topic: str) -> int: ...


class Publisher:
    """Ships every slot of the spool in *directory* that no other publisher ships, from a thread of its own.

    In order per slot and topic. A record is repeated only if its acknowledgement was not yet kept when the process
    ended, or the connection broke in between; readers know repeats by (collector_id, seq) and event_id. While broker
    or registry are away one warning is logged, records stay in the spool, and shipping resumes by itself. Records that
    Kafka will never take (too large) and damaged stretches of files go to topic `dead_letter`.

    Args:
        directory: The spool's folder; several writers may be at work in it.
        log: Where to.
        ids: Gives the schema ids; default: the registry of *log*.
    """

    def __init__(self, directory: Path | str, log: KafkaLog, *, ids: Ids | None = None) -> None:
        self.directory = Path(directory)
        self.log = log
        self.shipped = 0
        """Records that were acknowledged since the start."""
        self._ids = ids
        self._known_ids: dict[str, int] = {}
        self._outage = Outage(_logger, f"shipping {self.directory}", now=time.monotonic)
        self._slots: dict[str, Slot] = {}
        self._shipments: dict[tuple[str, str], Shipment] = {}
        self._producer: KafkaProducer | None = None
        self._positions: dict[str, dict[str, Position]] = {}
        """By slot, what its file says: nobody else writes it while we ship the slot."""
        self._scanned_at = float("-inf")
        self._folders: list[int] = []
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Publisher":
        """A started publisher of the spool and the log in *settings*.

        Raises:
            SettingsError: The log is no Kafka cluster, or there is no registry.
        """
        from kappawatt.errors import SettingsError
        from kappawatt.log.urls import KafkaUrl, parse

        url = parse(settings.log)
        if not isinstance(url, KafkaUrl):
            raise SettingsError(f"log {settings.log} is no kafka://HOST:PORT; there is nothing to ship to")
        if settings.registry is None:
            raise SettingsError(f"log {settings.log} needs a schema registry; set --registry or KAPPAWATT_REGISTRY")
        log = KafkaLog(url.bootstrap, settings.registry, settings.topic_prefix)
        return cls(settings.spool, log).start()

    @property
    def trouble(self) -> str | None:
        """Why nothing is shipped just now; None while it works."""
        return self._outage.reason

    def start(self) -> "Publisher":
        """Begin to ship; the thread does not keep the process alive."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kappawatt-publisher", daemon=True)
            self._thread.start()
        return self

    def wake(self) -> None:
        """There are new records: ship them now. Costs nothing; else they are found within `_IDLE_S`."""
        self._wake.set()

    def drain(self, timeout_s: float) -> bool:
        """True when Kafka has acknowledged all that the spool held at the call; False after *timeout_s*.

        Slots that another process ships count as well; it may be the one that is waited for.
        """
        wanted = _ends(self.directory)
        until = time.monotonic() + timeout_s
        self._scanned_at = float("-inf")
        while True:
            self._wake.set()
            if all(_is_behind(self.directory, key, end) for key, end in wanted.items()):
                return True
            if time.monotonic() >= until or self._stop.is_set():
                return False
            self._stop.wait(0.02)

    def close(self) -> None:
        """Stop; what is not acknowledged stays in the spool for the next publisher.

        Returns within two seconds; a thread that still waits for a dead broker then ends by itself.
        """
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
            self._thread = None

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if not self._step_safely():
                    self._wake.wait(_IDLE_S)
                self._wake.clear()
        finally:
            self._let_go()

    def _step_safely(self) -> bool:
        try:
            return self._step()
        except KappawattError as error:
            self._outage.failed(f"{error}; records stay in the spool")
        except Exception:  # the thread must live: without it nothing is shipped and nobody says so
            _logger.exception("shipping %s failed; trying again", self.directory)
            self._outage.failed("an unexpected error, see above")
        return False

    def _step(self) -> bool:
        """Ship some, and wait for acknowledgements; True if there may be more to do at once."""
        if not self._outage.due():
            self._settle(0.0)
            return False
        self._scan()
        waiting = [each for each in self._shipments.values() if each.has_more()]
        if waiting:
            self._make_ready(waiting)
        sent = sum(self._send(each) for each in waiting)
        self._settle(_ACK_S if self._pending() else 0.0)
        return sent > 0 or self._pending() > 0

    def _scan(self) -> None:
        """Take the slots and topics that are there by now."""
        now, folders = time.monotonic(), [_changed_ns(self.directory / topic) for topic in codec.TOPICS]
        if folders == self._folders and now - self._scanned_at < _SCAN_S:
            return
        self._scanned_at = now
        # A folder's time stands still for some ms: a change just after a fresh one might not show.
        self._folders = folders if max(folders) < time.time_ns() - _TIMES_NS else []
        for slot in slots(self.directory):
            if slot.name not in self._slots and slot.shipper.acquire():
                self._slots[slot.name], self._positions[slot.name] = slot, slot.shipped()
        for name, shipped in self._positions.items():
            for topic in codec.TOPICS:
                if (name, topic) in self._shipments or not names.segments(self.directory, topic, name):
                    continue
                self._shipments[name, topic] = Shipment(self.directory, topic, name, shipped.get(topic))

    def _make_ready(self, waiting: list[Shipment]) -> None:
        """See that everything is there that sending needs; raises what is missing."""
        if self._producer is None:
            self.log.check()
            needed = {each.topic for each in waiting} | {"dead_letter"}
            self.log.ensure_topics(PARTITIONS, needed=needed)
            self._producer = self.log.producer()
        for topic in {each.topic for each in waiting} - self._known_ids.keys():
            self._known_ids[topic] = self._registry().register(topic)

    def _registry(self) -> Ids:
        if self._ids is None:
            if self.log.registry is None:
                raise LogError(f"Kafka at {self.log.bootstrap} needs a schema registry; set KAPPAWATT_REGISTRY")
            from kappawatt.wire.registry import Registry

            self._ids = Registry(self.log.registry, topic_prefix=self.log.topic_prefix)
        return self._ids

    def _send(self, shipment: Shipment) -> int:
        assert self._producer is not None
        sent = 0
        for record in shipment.take():
            value = codec.frame(self._schema_id(record.topic), record.datum)
            if not self._producer.send(record.topic, record.key, value, record.done):
                shipment.give_back(record)
                break
            sent += 1
        return sent

    def _schema_id(self, topic: str) -> int:
        if topic not in self._known_ids:
            self._known_ids[topic] = self._registry().register(topic)
        return self._known_ids[topic]

    def _settle(self, timeout_s: float) -> None:
        """Collect acknowledgements and keep them."""
        if self._producer is None:
            return
        self._producer.poll(timeout_s)
        moved = {each.slot for each in self._shipments.values() if each.advance()}
        before, self.shipped = self.shipped, sum(each.shipped for each in self._shipments.values())
        for name in moved:
            mine = {key[1]: each.acknowledged for key, each in self._shipments.items() if key[0] == name}
            self._positions[name] |= {topic: at for topic, at in mine.items() if at is not None}
            self._slots[name].save_shipped(self._positions[name])
        if self.shipped > before:
            self._producer.failure = None
            self._outage.worked()
        self._look_for_trouble()

    def _look_for_trouble(self) -> None:
        assert self._producer is not None
        failed = next((each.failure for each in self._shipments.values() if each.failure is not None), None)
        if failed is not None:  # go back to what is acknowledged, with a client that knows nothing of before
            self._start_over(failed)
        elif not self._pending():
            self._producer.failure = None  # nothing waits for it: what it said is of no more interest
        elif self._producer.failure is not None:
            self._outage.failed(f"{self._producer.failure.text}; records stay in the spool")
            self._outage.hurry()

    def _start_over(self, failed: Failure) -> None:
        assert self._producer is not None
        self._producer.close()
        self._producer = None
        for each in self._shipments.values():
            each.rewind()
        self._outage.failed(f"{failed.text}; records stay in the spool")

    def _pending(self) -> int:
        return 0 if self._producer is None else self._producer.pending

    def _let_go(self) -> None:
        if self._producer is not None:
            self._step_last()
            self._producer.close()
            self._producer = None
        for shipment in self._shipments.values():
            shipment.close()
        for slot in self._slots.values():
            slot.shipper.release()
        self._shipments.clear()
        self._slots.clear()
        self._positions.clear()

    def _step_last(self) -> None:
        try:
            self._settle(_ACK_S)
        except KappawattError as error:
            _logger.warning("shipping %s: %s", self.directory, error)

    def __enter__(self) -> "Publisher":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        why = f", {self._outage.reason}" if self._outage.reason else ""
        counts = f"{self.shipped} shipped, {self._pending()} on the way"
        return f"<Publisher {self.directory} to {self.log.bootstrap}: {counts}{why}>"


def _changed_ns(folder: Path) -> int:
    """When a file came to or went from *folder*, as the file system tells it; 0 if it is not there."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _ends(directory: Path) -> dict[tuple[str, str], Position]:
    """Where the records of each slot and topic end now."""
    ends = {}
    for slot in slots(directory):
        for topic in codec.TOPICS:
            existing = names.segments(directory, topic, slot.name)
            if existing:
                path = directory / topic / existing[-1]
                ends[slot.name, topic] = (existing[-1], os.stat(path).st_size)
    return ends


def _is_behind(directory: Path, key: tuple[str, str], end: Position) -> bool:
    slot, topic = key
    shipped = Slot(directory, slot).shipped().get(topic)
    return shipped is not None and shipped >= end

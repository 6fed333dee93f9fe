"""The stateful steps: ledger shards and zone shards."""

from typing import Any

from kappawatt.emissions.names import CONTROL, KEYS, STATE_VERSION, Keys
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.shard import Shard
from kappawatt.ledger.zones import ZoneHour, ZoneTotals
from kappawatt.stream.job import Item, Runtime
from kappawatt.stream.outbox import Outbox
from kappawatt.stream.ticks import is_tick


class ShardLogic:
    """A ledger shard: keeps messages, folds them when the epoch ends, releases the rows in the next."""

    def __init__(self, name: str, state: Any, config: LedgerConfig, runtime: Runtime, keys: Keys = KEYS) -> None:
        self._name, self._runtime, self._keys = name, runtime, keys
        self._number = keys.shards.index(name)
        self._shard = Shard(config, keys.buckets, (CONTROL,))
        self._outbox = Outbox()
        self._zones: list[ZoneHour] = []
        self._changed = False
        if state is not None:
            _, dumped, outbox, zones = state
            self._shard.load(dumped)
            self._outbox = Outbox(*outbox)
            self._zones = [ZoneHour(*values) for values in zones]

    def on_batch(self, values: list[Any]) -> list[Item]:
        """Release what the last snapshot fixed, then keep the messages."""
        items: list[Item] = [(self._name, outlet) for outlet in self._outbox.release()]
        items += [(self._keys.zone_key(hour.zone), (self._number, hour)) for hour in self._zones]
        self._zones = []
        for value in values:
            if not is_tick(value):
                self._shard.add(value)
                self._changed = True
        return items

    def snapshot(self) -> Any:
        """Fold the epoch; the whole state."""
        if self._changed or self.has_more():
            self.fold()
        return self.dump()

    def has_more(self) -> bool:
        """Whether the last fold left work for the next one, news or not."""
        return self._shard.has_more

    def fold(self, *, quiet: bool = False) -> None:
        """Take the epoch's messages into the shard, and fix the rows that they change; *quiet*: see `Folding`."""
        flush = self._shard.flush(quiet=quiet)
        if not quiet:
            self._outbox.put(flush.rows, flush.deletes, flush.dead, flush.orders)
            self._zones.extend(flush.zones)
        elif flush:
            self._outbox.skip()
        self._changed = False
        self._runtime.beat()  # many prices make long epochs, a folded shard is progress

    def dump(self) -> Any:
        """State and outbox together."""
        zones = tuple(tuple(zone) for zone in self._zones)
        return (STATE_VERSION, self._shard.dump(), self._outbox.dump(), zones)


class ZoneLogic:
    """A zone shard: each ledger shard's latest contribution per zone and hour."""

    def __init__(self, name: str, state: Any, horizon_hours: int) -> None:
        self._name = name
        self._totals = ZoneTotals()
        self._outbox = Outbox()
        self._horizon_hours = horizon_hours
        if state is not None:
            self._totals.load(state[1])
            self._outbox = Outbox(*state[2])

    def on_batch(self, values: list[Any]) -> list[Item]:
        """Release what the last snapshot fixed, then take the contributions."""
        items: list[Item] = [(self._name, outlet) for outlet in self._outbox.release()]
        for value in values:
            if not is_tick(value):
                shard, part = value
                self._totals.replace(shard, part)
        return items

    def snapshot(self) -> Any:
        """Fold the epoch; the whole state."""
        self.fold()
        return self.dump()

    def has_more(self) -> bool:
        """Never: a fold does all."""
        return False

    def fold(self, *, quiet: bool = False) -> None:
        """Fix the rows of the zone hours that changed."""
        rows = self._totals.flush()
        self._totals.forget_before(self._totals.newest_over - self._horizon_hours)
        self._outbox.put({"zone_window_1h": rows} if rows else {}, {})

    def dump(self) -> Any:
        """State and outbox together."""
        return (STATE_VERSION, self._totals.dump(), self._outbox.dump())

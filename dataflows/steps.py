"""The stateful steps: ledger shards and zone shards, as Bytewax sees them."""

from typing import Any

from bytewax.operators import StatefulBatchLogic

from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.shard import Shard
from kappawatt.ledger.zones import ZoneHour, ZoneTotals

from .names import BUCKETS, STATE_VERSION
from .outlet import Outbox, Outlet
from .process import WATCHDOG, logged
from .ticks import TICK


class ShardStep(StatefulBatchLogic):  # type: ignore[misc]  # bytewax has no types that mypy can follow
    """A ledger shard: keeps messages, folds them when the epoch ends, releases the rows in the next."""

    def __init__(self, config: LedgerConfig, state: Any) -> None:
        self._shard = Shard(config, BUCKETS)
        self._outbox = Outbox()
        self._zones: list[ZoneHour] = []
        self._changed = state is None
        self._dumped: Any = None
        if state is not None:
            _, dumped, outbox, zones = state
            self._shard.load(dumped)
            self._outbox = Outbox(*outbox)
            self._zones = [ZoneHour(*values) for values in zones]
            self._changed = True

    @logged
    def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
        """Release what the last snapshot fixed, then keep the messages."""
        out: list[Any] = [*self._outbox.release(), *self._zones]
        self._zones = []
        for value in values:
            if value != TICK:
                self._shard.add(value)
                self._changed = True
        return out, False

    @logged
    def on_eof(self) -> tuple[list[Any], bool]:
        """Keep the state: the end of input is a drain, nothing becomes final by it."""
        return [], False

    @logged
    def snapshot(self) -> Any:
        """Fold the epoch; state and outbox together."""
        if self._changed:
            flush = self._shard.flush()
            self._outbox.put(flush.rows, flush.deletes)
            self._zones.extend(flush.zones)
            self._dumped = self._shard.dump()
            self._changed = False
            WATCHDOG.beat()  # many prices make long epochs, a folded shard is progress
        return (STATE_VERSION, self._dumped, self._outbox.dump(), tuple(tuple(zone) for zone in self._zones))


class ZoneStep(StatefulBatchLogic):  # type: ignore[misc]  # as above
    """A zone shard: each ledger shard's latest contribution per zone and hour."""

    def __init__(self, horizon_hours: int, state: Any) -> None:
        self._totals = ZoneTotals()
        self._outbox = Outbox()
        self._horizon_hours = horizon_hours
        if state is not None:
            self._totals.load(state[1])
            self._outbox = Outbox(*state[2])

    @logged
    def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
        """Release what the last snapshot fixed, then take the contributions."""
        out: list[Outlet] = self._outbox.release()
        for value in values:
            if value != TICK:
                shard, part = value
                self._totals.replace(shard, part)
        return out, False

    @logged
    def on_eof(self) -> tuple[list[Any], bool]:
        """Keep the state."""
        return [], False

    @logged
    def snapshot(self) -> Any:
        """Rows of the zone hours that changed, fixed together with the state."""
        rows = self._totals.flush()
        self._totals.forget_before(self._totals.newest_over - self._horizon_hours)
        self._outbox.put({"zone_window_1h": rows} if rows else {}, {})
        return (STATE_VERSION, self._totals.dump(), self._outbox.dump())

"""The way to the store: one connection, used by one thread, opened when asked and again after a failure."""

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from kappawatt.errors import StoreError
from kappawatt.stores import Row, Store, open_store

from .queries import DAY_US
from .text import utc_day

T = TypeVar("T")

_log = logging.getLogger(__name__)

ANSWER_S = 5.0
"""An answer that takes longer is given up; the question itself ends when the store's client ends it."""
MOST_WAITING = 64
"""Questions that may wait for the thread; more are turned away at once, so that a stuck store holds no memory."""
KEEP_S = 30.0
"""How long rows of a day that is over are answered from memory: only a better price still changes them."""
KEEP_ROWS = 50_000


class Kept:
    """A read-only `Store` that keeps what it read of past days for `KEEP_S`; at most `KEEP_ROWS` rows."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._kept: OrderedDict[tuple[Any, ...], tuple[float, list[dict[str, Any]]]] = OrderedDict()
        self._rows = 0

    def __repr__(self) -> str:
        return f"<Kept {self._store!r}, {self._rows} rows of {len(self._kept)} days>"

    def read(
        self,
        table: str,
        partition: Mapping[str, Any],
        *,
        since: int | str | None = None,
        until: int | str | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """See `Store.read`."""
        asked: dict[str, Any] = {"since": since, "until": until, "newest_first": newest_first, "limit": limit}
        now = self._clock()
        yesterday = utc_day(int(now * 1e6) - DAY_US)
        if partition.get("date", yesterday) >= yesterday:
            return self._store.read(table, partition, **asked)
        key = (table, *sorted(partition.items()), *asked.values())
        if key in self._kept and 0 <= now - self._kept[key][0] < KEEP_S:
            return self._kept[key][1]
        rows = self._store.read(table, partition, **asked)
        self._keep(key, now, rows)
        return rows

    def _keep(self, key: tuple[Any, ...], now: float, rows: list[dict[str, Any]]) -> None:
        self._rows -= len(self._kept.pop(key, (0.0, []))[1])
        self._kept[key] = (now, rows)
        self._rows += len(rows)
        while self._rows > KEEP_ROWS or len(self._kept) > KEEP_ROWS:
            _, (_, gone) = self._kept.popitem(last=False)
            self._rows -= len(gone)

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """See `Store.scan`."""
        return self._store.scan(table)

    def store_id(self) -> str:
        """See `Store.store_id`."""
        return self._store.store_id()

    def close(self) -> None:
        """Close the store behind."""
        self._store.close()

    def write(self, table: str, rows: Sequence[Row], version: int) -> None:
        """The page never writes."""
        raise StoreError(f"the page reads only; {table} was not written")

    def delete(self, table: str, keys: Sequence[Row], version: int) -> None:
        """The page never deletes."""
        raise StoreError(f"the page reads only; nothing of {table} was deleted")

    def flush(self) -> None:
        """The page has nothing to flush."""

    def fence(self) -> int:
        """See `Store.fence`."""
        return self._store.fence()

    def raise_fence(self, now_us: int) -> int:
        """The page never raises the fence."""
        raise StoreError("the page reads only; the fence was not raised")


class Reader:
    """Answers questions to the store behind *url*, one after the other, off the event loop.

    A store that is missing, fails, or is replaced by another file is opened anew for the next question, so a page
    that was open meanwhile recovers by itself.
    """

    def __init__(self, url: str, *, opener: Callable[[str], Store] | None = None) -> None:
        self.url = url
        self._opener = opener or (lambda address: open_store(address, read_only=True))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._store: Kept | None = None
        self._identity: tuple[int, int] | None = None
        self._waiting = 0
        self._count = threading.Lock()

    def __repr__(self) -> str:
        return f"<Reader {shown_url(self.url)}, {'open' if self._store else 'not open'}, {self._waiting} waiting>"

    async def ask(self, question: Callable[[Store], T]) -> T:
        """The answer of *question*, which gets the store.

        Raises:
            StoreError: The store is not there, failed, or did not answer within `ANSWER_S`.
        """
        if self._waiting >= MOST_WAITING:
            raise StoreError(f"store {shown_url(self.url)} is too slow: {self._waiting} questions wait for an answer")
        self._wait(1)
        future = self._thread.submit(self._answer, question)
        future.add_done_callback(lambda _: self._wait(-1))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_S)
        except TimeoutError:
            raise StoreError(
                f"store {shown_url(self.url)} gave no answer within {ANSWER_S:.0f} s; is it up and reachable?"
            ) from None

    def close(self) -> None:
        """Close the store and end the thread."""
        self._thread.submit(self._forget)
        self._thread.shutdown(wait=True)

    def _wait(self, step: int) -> None:
        with self._count:
            self._waiting += step

    def _answer(self, question: Callable[[Store], T]) -> T:
        identity = _file_identity(self.url)
        if identity != self._identity:
            self._forget()
        try:
            if self._store is None:
                self._store = Kept(self._opener(self.url))
                self._identity = identity
            return question(self._store)
        except StoreError:
            self._forget()
            raise

    def _forget(self) -> None:
        store, self._store, self._identity = self._store, None, None
        if store is None:
            return
        try:
            store.close()
        except StoreError as error:
            _log.warning("closing the store: %s", error)


def _file_identity(url: str) -> tuple[int, int] | None:
    """Device and inode of an SQLite file: a rebuilt store is another file under the same name."""
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite" or not rest:
        return None
    try:
        found = Path(rest).expanduser().stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def shown_url(url: str) -> str:
    """*url* without a user name and password, should someone have put them there.

    >>> shown_url("cassandra://me:secret@db:9042/kw")
    'cassandra://…@db:9042/kw'
    """
    scheme, mark, rest = url.partition("://")
    secret, at, host = rest.rpartition("@")
    return f"{scheme}{mark}…@{host}" if mark and at and secret else url

"""How an outlet gets into a store: the one place, whichever engine carries it."""

from collections.abc import Sequence

from kappawatt.ledger.repricing import TABLE, Reprice, repriced
from kappawatt.stores import Store
from kappawatt.stores.tables import TABLES
from kappawatt.stream import target
from kappawatt.stream.outbox import Outlet


def write_outlet(store: Store, outlet: Outlet, fence: int) -> None:
    """Start to write an outlet's rows and deletes, with the version *fence* + its flush number, and obey its orders."""
    target.write_outlet(store, outlet, fence)
    if outlet.orders:
        store.flush()  # after a restart, the rows that an order is about may be among what was written just now
        obey(store, [Reprice(*order) for order in outlet.orders], fence + outlet.flush)


def obey(store: Store, orders: Sequence[Reprice], version: int) -> None:
    """Start to price rows anew that are in the store only; what keep-time has removed of them stays removed.

    To do it again, or to be cut off in between and do it again, gives the same rows.
    """
    names = TABLES[TABLE].columns
    for order in orders:
        partition = {"run_id": order.run_id, "date": order.date}
        rows = store.read(TABLE, partition, since=order.since_us, until=order.until_us)
        store.write(TABLE, [tuple(row[name] for name in names) for row in repriced(order, rows)], version)

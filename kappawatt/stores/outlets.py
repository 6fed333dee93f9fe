"""How an outlet gets into a store: the one place, whichever engine carries it."""

from kappawatt.stores import Store
from kappawatt.stream.outbox import Outlet


def write_outlet(store: Store, outlet: Outlet, fence: int) -> None:
    """Start to write an outlet's rows and deletes, with the version *fence* + its flush number."""
    version = fence + outlet.flush
    for table, keys in outlet.deletes.items():
        store.delete(table, keys, version)
    for table, rows in outlet.rows.items():
        store.write(table, rows, version)

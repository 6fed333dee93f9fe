"""Which samples came after their windows were evicted, and what each width misses of them (docs/semantics.md §2)."""

from collections.abc import Sequence

import numpy as np

from kappawatt.ledger.frames import Suspect
from kappawatt.ledger.places import Places
from kappawatt.ledger.rows import Row, dates
from kappawatt.ledger.windows import Windows


def late_rows(suspects: Sequence[Suspect], known: Places, widths: Sequence[Windows], lateness_us: int) -> list[Row]:
    """Rows of table `late` for those suspects that have pieces in evicted windows."""
    if not suspects:
        return []
    owner = np.repeat(np.arange(len(suspects)), [len(suspect.window) for suspect in suspects])
    run = np.array([known.run(suspect.run_id) for suspect in suspects], np.int64)[owner]
    window = np.concatenate([suspect.window for suspect in suspects])
    energy = np.concatenate([suspect.energy_uj for suspect in suspects])
    hit, missed = np.zeros(len(suspects), bool), np.zeros((len(suspects), len(widths)), np.int64)
    for column, windows in enumerate(widths):
        late = windows.is_late(run, window, known.frontier, lateness_us)
        hit[owner[late]] = True
        np.add.at(missed[:, column], owner[late], energy[late])
    rows = []
    for at in np.flatnonzero(hit).tolist():
        suspect = suspects[at]
        day = dates(np.array([suspect.start_us]))[0]
        rows.append((suspect.run_id, day, *suspect[1:6], *missed[at].tolist()))
    return rows

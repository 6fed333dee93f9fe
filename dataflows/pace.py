"""When the parts of one process are polled: every poll of a source is an epoch, and all processes are in the same one.

Bytewax counts an epoch from when a source ended the last one, and not from when it was let into this one. Two sources,
or two processes, that began half a second apart would take turns in waiting for each other for ever: each reads for
half of its epoch, and asks all the time whether it may while the other does. So its own interval is 0, the parts poll
for as long as an epoch is to take, and say here when the next one begins.
"""

import math
import time

from .process import Marks

_BEHIND = "behind."
_BACKLOG = 2.0


class Pace:
    """Shared by the parts of one process.

    A poll that reads comes at every whole multiple of *epoch_s* since 1970, so that all processes begin together; right
    after it comes one that only releases what its commit made final. While a part has more to read than an epoch takes,
    both read and follow each other at once, and the other processes are told by a mark not to make it wait.

    Args:
        epoch_s: Time between two polls that read.
        marks: What the processes of this start tell each other; None: there is one.
        name: This process.
        backlog: How long reading may take in one epoch while there is more than it can bring, in *epoch_s*.
    """

    def __init__(
        self, epoch_s: float, marks: Marks | None = None, name: str = "0", *, backlog: float = _BACKLOG
    ) -> None:
        self._epoch_s, self._backlog_s, self._marks, self._mark = epoch_s, backlog * epoch_s, marks, f"{_BEHIND}{name}"
        self._behind: set[int] = set()

    def __repr__(self) -> str:
        return f"<Pace of {self._epoch_s} s, {len(self._behind)} parts behind>"

    def budget_s(self) -> float:
        """How long one part may read in one epoch: they are polled after each other."""
        return self._backlog_s / max(1, len(self._behind))

    def note(self, part: object, *, behind: bool) -> None:
        """Whether a part has more to read, or is to go soon."""
        before = bool(self._behind)
        (self._behind.add if behind else self._behind.discard)(id(part))
        if self._marks is not None and before != bool(self._behind):
            (self._marks.open if self._behind else self._marks.shut)(self._mark)

    def wait_s(self, asked_s: float, *, release: bool) -> float:
        """How long after the beginning of its last poll a part is to be polled again.

        Args:
            asked_s: How long the part itself can wait; inf: it has read all.
            release: Whether the next poll is to release what this one's epoch brings.
        """
        if release or self._behind or (self._marks is not None and self._marks.any_open(_BEHIND)):
            # Who is due and not let in, because another process is not yet there, keeps a core busy with asking. But
            # parts that sleep for as long as each thinks best are not due together, and Bytewax ends an epoch for those
            # that are not due as well: they read in fewer epochs than there are, and release while others read.
            return 0.0
        now = time.time()
        beat_s = (math.floor(now / self._epoch_s) + 1) * self._epoch_s - now
        return min(asked_s, beat_s)

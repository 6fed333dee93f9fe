"""Which runs a shard has forgotten: what comes for one later must not begin its rows anew (docs/semantics.md §4)."""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from kappawatt.ledger.frames import Frame, Suspect

MOST = 1 << 20
"""How many are remembered; of more, the first forgotten ones are forgotten for good."""

_BYTES = 8  # a chance of 3e-8 that of a million names two are taken for one
_AGAIN = "~/"


class Forgotten:
    """Names by their hashes, eight bytes each, in the order in which they came."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._hashes: dict[bytes, None] = {}
        self._dumped = b""

    def __repr__(self) -> str:
        return f"<Forgotten {len(self._hashes)} runs>"

    def __contains__(self, run_id: str) -> bool:
        return bool(self._hashes) and _hash(run_id) in self._hashes

    def add(self, run_ids: Iterable[str]) -> None:
        """Note that these are forgotten."""
        self._hashes.update((_hash(run_id), None) for run_id in run_ids)
        for first in list(self._hashes)[: max(0, len(self._hashes) - self._most)]:
            del self._hashes[first]
        self._dumped = b"".join(self._hashes)

    def dump(self) -> bytes:
        """Plain state; the same object as long as nothing was added."""
        return self._dumped

    def load(self, state: bytes) -> None:
        """Take over what `dump` gave."""
        self._dumped = state
        self._hashes = {state[at : at + _BYTES]: None for at in range(0, len(state), _BYTES)}


def is_of_host(run_id: str) -> bool:
    """Whether the run is what a host used for no run: collectors make it up, nobody started it.

    >>> is_of_host("~h1"), is_of_host("r1"), is_of_host("~/r1"), is_of_host("~/~h1")
    (True, False, False, True)
    """
    return origin(run_id).startswith("~")


def origin(run_id: str) -> str:
    """The id that a run's records have.

    >>> origin("~/~/r1"), origin("~h1")
    ('r1', '~h1')
    """
    while run_id.startswith(_AGAIN):
        run_id = run_id.removeprefix(_AGAIN)
    return run_id


def name_for(run_id: str, known: Callable[[str], bool], forgotten: Forgotten) -> str:
    """What a run is called here: `~/` and its id if it was forgotten, since its rows stand for what it was then."""
    while not known(run_id) and run_id in forgotten:
        run_id = _AGAIN + run_id
    return run_id


def renamed(
    frames: Sequence[Frame], suspects: Sequence[Suspect], name: Callable[[str], str]
) -> tuple[list[Frame], list[Suspect]]:
    """The same under the names of their runs."""
    runs = {place.run_id for frame in frames for place in frame.places}
    other = {run_id: called for run_id in runs if (called := name(run_id)) != run_id}
    if not other:
        return list(frames), list(suspects)
    return (
        [_frame(frame, other) for frame in frames],
        [suspect._replace(run_id=other.get(suspect.run_id, suspect.run_id)) for suspect in suspects],
    )


def _frame(frame: Frame, other: dict[str, str]) -> Frame:
    return frame._replace(
        places=[place._replace(run_id=other.get(place.run_id, place.run_id)) for place in frame.places],
        devices=[device._replace(run_id=other.get(device.run_id, device.run_id)) for device in frame.devices],
    )


def _hash(run_id: str) -> bytes:
    return hashlib.blake2b(run_id.encode(), digest_size=_BYTES).digest()

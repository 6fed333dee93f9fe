"""The state folder: recovery files of Bytewax, bound to one store and one log by a random id.

State is a cache of the log. What is missing, half made, damaged, of another store or of another version is made anew by
reading the log again, and the message says why.
"""

import json
import logging
import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from bytewax.recovery import RecoveryConfig, init_db_dir

from kappawatt.emissions.names import STATE_VERSION
from kappawatt.errors import KappawattError
from kappawatt.log.atomic import read_json, write_json
from kappawatt.log.locks import FileLock

from .recovery_files import damage, drop_uncommitted

LOG = logging.getLogger("kappawatt.flow")

_IDENTITY = "identity.json"
_RECOVERY = "recovery"
_UNFIT = "unfit.json"
_REBUILD = "rebuild.json"
_GATES = "gates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a state belongs to; each difference makes it useless."""

    store_id: str
    log: str
    state_version: int = STATE_VERSION


class StateFolder:
    """The folder, locked for one start of the flow at a time.

    Args:
        folder: Where.
        readable: Older versions of states that a start can go on with.
    """

    def __init__(self, folder: Path, *, readable: Collection[int] = ()) -> None:
        self.folder, self._readable = folder, readable
        self._lock = FileLock(folder.parent / f"{folder.name}.lock", program="kappawatt flow")

    def __repr__(self) -> str:
        return f"<StateFolder {self.folder}>"

    def lock(self) -> None:
        """Become the only flow on this state.

        Raises:
            KappawattError: Another one is running.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire():
            raise KappawattError(
                f"state {self.folder} is in use by {self._lock.holder()}; stop that flow, or give this one --state DIR"
            )

    def unlock(self) -> None:
        """Let others have it."""
        self._lock.release()

    def why_anew(self, identity: Identity, *, parts: int, rebuild: bool) -> str | None:
        """Why the log has to be read from its beginning; None if there is state to resume from."""
        return "--rebuild was given" if rebuild else self._unfit(identity, parts)

    def prepare(self, identity: Identity, *, parts: int, why: str | None, stale_below: int | None) -> bool:
        """Make the folder fit for *identity*; True if there is state to resume from.

        Args:
            identity: What the state is to belong to.
            parts: Number of recovery files.
            why: Why to start anew, as `why_anew` gave it.
            stale_below: If the store has rows of an earlier life: the fence that they lie below. Kept with a state that
                starts anew, until the rebuild has come to the log's end.
        """
        if why is None:
            drop_uncommitted(self.folder / _RECOVERY)
            write_json(self.folder / _IDENTITY, asdict(identity))  # from here on it is of this version
            return True
        if self.folder.exists():
            LOG.warning("state %s is not used: %s; reading the whole log again", self.folder, why)
            # First of all, so that what a crash leaves of the rest is never taken for whole.
            (self.folder / _IDENTITY).unlink(missing_ok=True)
            shutil.rmtree(self.folder)
        recovery = self.folder / _RECOVERY
        recovery.mkdir(parents=True)
        init_db_dir(recovery, parts)
        if stale_below is not None:
            write_json(self.folder / _REBUILD, {"stale_below": stale_below})
        # Written last: a folder without it was only half made.
        (self.folder / _IDENTITY).write_text(json.dumps(asdict(identity), indent=2))
        return False

    def rebuilding(self) -> int | None:
        """The fence that stale rows lie below, while a rebuild is not finished; None if there is none."""
        found = read_json(self.folder / _REBUILD).get("stale_below")
        return None if found is None else int(found)

    def end_rebuild(self) -> None:
        """What was left of the earlier life is swept."""
        (self.folder / _REBUILD).unlink()

    def give_up(self, why: str) -> None:
        """Nothing can resume from this state: the next start reads the log again."""
        write_json(self.folder / _UNFIT, {"why": why})

    def recovery(self) -> RecoveryConfig:
        """For Bytewax."""
        return RecoveryConfig(self.folder / _RECOVERY)

    def gates(self) -> Path:
        """A new empty folder for the marks of one start."""
        folder = self.folder / _GATES
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _unfit(self, identity: Identity, parts: int) -> str | None:
        path = self.folder / _IDENTITY
        if not self.folder.exists():
            return "there is none"
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            return "it was only half made"
        if not isinstance(found, dict):
            return "it was only half made"
        given_up = read_json(self.folder / _UNFIT).get("why")
        if given_up is not None:
            return str(given_up)
        for name, wanted in asdict(identity).items():
            if name == "state_version" and found.get(name) in self._readable:
                continue
            if found.get(name) != wanted:
                return f"its {name.replace('_', ' ')} is {found.get(name)!r}, here it is {wanted!r}"
        return damage(self.folder / _RECOVERY, parts)

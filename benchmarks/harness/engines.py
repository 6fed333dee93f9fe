"""An engine's folder: what engine.toml says, its environment, the lines of its job."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .cluster import BenchError
from .data import cache

FOLDER = Path(__file__).resolve().parents[1] / "engines"
BUILT_FROM = ("requirements*.txt", "pom.xml", "*.java", "*.scala", "*.sql")
NOT_SOURCE = {"target", "build", "__pycache__", ".venv"}
BUILD_LIMIT_S = 1_800
WARM_PASSES = 3
"""A JVM gets faster from pass to pass."""
FIELDS = {"name", "title", "version", "build", "run", "loc", "notes"}


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine as its engine.toml describes it."""

    folder: Path
    name: str
    title: str
    version: str
    build: tuple[tuple[str, ...], ...]
    run: tuple[str, ...]
    loc: tuple[str, ...]
    notes: str
    passes: int
    """Passes over the log in one process: more than one for what gets faster with time."""
    most_ticks: int | None
    """The longest log that it is given; None: any. An engine that has one is slow: it is measured in fewer rounds."""
    cannot: Mapping[str, str]
    """Measure → why it is n/a."""
    start_s: float
    """About how long it takes until it reads; for the plan's reckoning, as the next."""
    tick_us: float
    """About the wall clock of a tick in a catch-up on two cores."""

    def home(self) -> Path:
        """The folder of its environment: another one as soon as what it is built from changes."""
        digest = hashlib.sha256(repr(self.build).encode())
        for path in self._built_from():
            digest.update(str(path.relative_to(self.folder.parent)).encode() + b"\0" + path.read_bytes())
        return cache() / "engines" / f"{self.name}-{digest.hexdigest()[:12]}"

    def _built_from(self) -> list[Path]:
        """Sources below its folder, and below others that its build commands name as `../FOLDER`."""
        words = [word for command in self.build for word in command if word.startswith("../")]
        folders = {self.folder, *(self.folder.parent / Path(word).parts[1] for word in words)}
        found = {path for folder in folders for pattern in BUILT_FROM for path in folder.rglob(pattern)}
        return sorted(path for path in found if not NOT_SOURCE & set(path.relative_to(self.folder.parent).parts))

    def built(self) -> Path:
        """Its environment, built if it is not there.

        Raises:
            BenchError: A command failed; its output is in the message.
        """
        home = self.home()
        stamp = home / "built"
        if not self.build or stamp.exists():
            home.mkdir(parents=True, exist_ok=True)
            return home
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for command in self.build:
            words = filled(command, home)
            print(f"{self.name}: {' '.join(words)}", file=sys.stderr, flush=True)
            done = subprocess.run(
                words,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=BUILD_LIMIT_S,
            )
            if done.returncode:
                raise BenchError(f"{self.name}: {' '.join(words)} failed:\n{done.stdout[-4_000:]}")
        stamp.touch()
        return home

    def command(self) -> list[str]:
        """What starts it."""
        return filled(self.run, self.built())

    def lines(self) -> int:
        """Lines of its job: not empty, not only a comment."""
        paths = sorted({path for pattern in self.loc for path in self.folder.glob(pattern)})
        texts = [line.strip() for path in paths for line in path.read_text().splitlines()]
        return sum(1 for text in texts if text and not text.startswith(("#", "//", "*", "/*", "--", '"""')))


def filled(command: Sequence[str], home: Path) -> list[str]:
    """A command with its `{python}` and `{home}`."""
    return [word.replace("{python}", sys.executable).replace("{home}", str(home)) for word in command]


def load(name: str, folder: Path = FOLDER) -> Engine:
    """The engine in a folder of this name.

    Raises:
        BenchError: There is none, or its engine.toml cannot be used.
    """
    path = folder / name / "engine.toml"
    if not path.exists():
        raise BenchError(f"no engine {name!r}; there are {', '.join(names(folder))}")
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"{path} is not TOML: {error}") from error
    if missing := FIELDS - said.keys():
        raise BenchError(f"{path} does not say {', '.join(sorted(missing))}")
    run = tuple(_words(said["run"]))
    return Engine(
        folder=path.parent,
        name=said["name"],
        title=said["title"],
        version=str(said["version"]),
        build=tuple(tuple(_words(command)) for command in said["build"]),
        run=run,
        loc=tuple(said["loc"]),
        notes=said["notes"].strip(),
        passes=said.get("passes", WARM_PASSES if run[0] == "java" else 1),
        most_ticks=said.get("most_ticks"),
        cannot=said.get("cannot", {}),
        start_s=said.get("start_s", 5.0),
        tick_us=said.get("tick_us", 50.0),
    )


def _words(command: str | list[str]) -> list[str]:
    return command.split() if isinstance(command, str) else command


def names(folder: Path = FOLDER) -> list[str]:
    """All engines that are there."""
    return sorted(path.parent.name for path in folder.glob("*/engine.toml"))

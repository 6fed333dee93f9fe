"""One start of an engine: environment, the lines that it prints, what it used between them, its end."""

import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from .cluster import OUTPUT_PARTITIONS, ROOT, BenchError, Cluster
from .data import Data
from .engines import Engine
from .shape import LATENESS_S
from .watch import Watch, wait_for


@dataclass(slots=True)
class Mark:
    """A line `BENCH word [number]`, when it came and what the tree had used by then."""

    word: str
    number: int
    at_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(slots=True)
class Pass:
    """What one pass over the log took."""

    number: int
    cpu_s: float
    wall_s: float
    peak_bytes: int


@dataclass(kw_only=True)
class EngineRun:
    """An engine at work. As a context manager: nothing of it is left afterwards."""

    engine: Engine
    cluster: Cluster
    data: Data
    mode: str
    passes: int = 1
    parallelism: int = 1
    lateness_s: int = LATENESS_S
    output: str = field(default_factory=lambda: f"bench-out-{uuid.uuid4().hex[:8]}")
    marks: list[Mark] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outputs = [f"{self.output}-{number}" for number in range(1, self.passes + 1)]
        self.cluster.make(dict.fromkeys(self.outputs, OUTPUT_PARTITIONS))
        self._folder = tempfile.TemporaryDirectory(prefix="kappawatt-bench-", ignore_cleanup_errors=True)
        self.errors = Path(self._folder.name, "stderr")
        Path(self._folder.name, "state").mkdir()
        self._command = self.engine.command()

    def __enter__(self) -> "EngineRun":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self.cluster.remove(self.outputs)
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        """What the engine is told."""
        said = {
            "BOOTSTRAP": self.cluster.bootstrap,
            "REGISTRY": self.cluster.registry,
            "SAMPLES": self.data.samples,
            "INTENSITY": self.data.intensity,
            "OUTPUT": self.output,
            "SCHEMAS": str(ROOT / "avro"),
            "STATE": str(Path(self._folder.name, "state")),
            "MODE": self.mode,
            "PASSES": str(self.passes),
            "LATENESS_S": str(self.lateness_s),
            "PARALLELISM": str(self.parallelism),
            "GROUP": self.output,
        }
        return {**os.environ, **{f"BENCH_{name}": value for name, value in said.items()}}

    def start(self) -> None:
        """Start it, or start it again after its end, with the same state."""
        self.began = time.monotonic()
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.engine.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.watch = Watch(self.process.pid)
        self._reader = threading.Thread(target=self._read, args=(self.process, self.watch), daemon=True)
        self._reader.start()

    def _read(self, process: "subprocess.Popen[str]", watch: Watch) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            words = line.split()
            if len(words) < 2 or words[0] != "BENCH":
                continue
            at, number = time.monotonic(), int(words[2]) if len(words) > 2 else 0
            self.marks.append(Mark(words[1], number, at, watch.cpu_s(), watch.peak_bytes()))
            if words[1] == "start":
                watch.forget_peak()

    def await_mark(self, word: str, limit_s: float, *, after_s: float = 0.0) -> Mark:
        """The first line with this word that came after an instant.

        Raises:
            BenchError: The engine ended, or did not print it within the limit.
        """

        def found() -> list[Mark]:
            return [mark for mark in list(self.marks) if mark.word == word and mark.at_s >= after_s]

        wait_for(lambda: found() or self.process.poll() is not None, limit_s)
        if not found():
            self._reader.join(1)
        if not (marks := found()):
            code = self.process.poll()
            state = f"did not print `BENCH {word}` in {limit_s:.0f} s" if code is None else f"ended with status {code}"
            raise BenchError(f"{self.engine.name} {state}:\n{self.tail()}")
        return marks[0]

    def await_end(self, limit_s: float) -> list[Pass]:
        """Wait until a catch-up is over; what each pass took."""
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{self.engine.name} was not done in {limit_s:.0f} s:\n{self.tail()}") from error
        self._reader.join(10)
        passes = [self._pass(number) for number in range(1, self.passes + 1)]
        if code or None in passes:
            raise BenchError(f"{self.engine.name} ended with status {code}, passes {passes}:\n{self.tail()}")
        return [each for each in passes if each is not None]

    def _pass(self, number: int) -> Pass | None:
        starts = [mark for mark in self.marks if (mark.word, mark.number) == ("start", number)]
        ends = [mark for mark in self.marks if (mark.word, mark.number) == ("end", number)]
        if not starts or not ends:
            return None
        start, end = starts[0], ends[0]
        return Pass(number, end.cpu_s - start.cpu_s, end.at_s - start.at_s, end.peak_bytes)

    def terminate(self, limit_s: float = 60) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """kill -9 of the whole tree, if it is there."""
        self.watch.kill()
        self.process.wait(30)
        self.watch.stop()
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def tail(self) -> str:
        """The end of what it wrote to stderr."""
        return "\n".join(self.errors.read_text(errors="replace").splitlines()[-30:])

"""A job's surroundings in a test's hand."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class ManualRuntime:
    """A `Runtime` whose time moves only by hand; *start_us* is the time of day at its beginning, µs UTC."""

    start_us: int = 0
    elapsed_us: int = 0
    stop: bool = False
    beats: int = 0
    gates: set[str] = field(default_factory=set)

    def advance(self, microseconds: int) -> None:
        """Let time pass."""
        self.elapsed_us += microseconds

    def monotonic_us(self) -> int:
        """Time since the beginning."""
        return self.elapsed_us

    def now_us(self) -> int:
        """The time of day."""
        return self.start_us + self.elapsed_us

    def stopping(self) -> bool:
        """Whether the job is to drain."""
        return self.stop

    def beat(self) -> None:
        """Count progress."""
        self.beats += 1

    def open(self, gate: str) -> None:
        """Set a mark."""
        self.gates.add(gate)

    def is_open(self, gate: str) -> bool:
        """Whether a mark was set."""
        return gate in self.gates

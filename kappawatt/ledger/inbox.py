"""What reaches a shard between two flushes, sorted by kind."""

from dataclasses import dataclass, field
from typing import NamedTuple

from kappawatt.ledger.frames import Frame, Suspect
from kappawatt.ledger.prices import Price
from kappawatt.ledger.runs import Event


class Report(NamedTuple):
    """What a source says of itself: a bucket's watermark (None: idle), or that it has ended for good.

    newest_us: With the end, the greatest counted end of a sample; None: there is none.
    read_us: All that had arrived by this instant is read; what it is worth is said by `FleetTime`.
    """

    bucket: str
    watermark_us: int | None
    ended: bool = False
    newest_us: int | None = None
    read_us: int | None = None


Message = Frame | Suspect | Price | Report | tuple[str, Event]
"""What a shard takes; an event comes with its run_id."""


@dataclass(slots=True)
class Inbox:
    """Messages by kind: their order within an epoch has no meaning."""

    frames: list[Frame] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    prices: list[Price] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    events: list[tuple[str, Event]] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """Keep one."""
        if isinstance(message, Frame):
            self.frames.append(message)
        elif isinstance(message, Suspect):
            self.suspects.append(message)
        elif isinstance(message, Price):
            self.prices.append(message)
        elif isinstance(message, Report):
            self.reports.append(message)
        else:
            self.events.append(message)

"""The errors that kappawatt raises; foreign ones are translated at the door they come in by."""

from datetime import UTC, datetime, timedelta


class KappawattError(Exception):
    """Base of all errors that a caller may want to catch; the message says what was asked, found, and what to do."""


class SettingsError(KappawattError):
    """A setting is unknown or has a value that cannot be used."""


class SourceGone(KappawattError):
    """A source of readings ended as expected: stop quietly."""


class SourceBusy(KappawattError):
    """A source of readings cannot be read just now: try again."""


class SourceBroken(KappawattError):
    """A source of readings does not work: tell a person."""


class WireError(KappawattError):
    """Bytes or a schema that do not follow the contract."""


class LogError(KappawattError):
    """The log (files, spool or Kafka) or the registry cannot be used."""


class LogAway(LogError):
    """The log or the registry does not answer just now: the same question may be answered later."""


class StoreError(KappawattError):
    """The store cannot be used."""


class Superseded(StoreError):
    """A later start writes to *store*: the one with *fence* must not, since the store's is *found*."""

    def __init__(self, store: object, fence: int, found: int) -> None:
        super().__init__(
            f"{store!r}: rows were to be written with fence {_at(fence)}, but the store's fence is {_at(found)}: "
            "another flow was started on it meanwhile, and nothing more is written from here. One flow at a time "
            "writes to a store: let that one run, or end it before this one is started again"
        )


class StateError(KappawattError):
    """Kept state does not fit together; it can be made anew from the log."""


def _at(fence: int) -> str:
    """A fence, which is the time of a start in µs UTC unless starts follow each other fast, with that time."""
    return f"{fence} ({datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=fence):%Y-%m-%d %H:%M:%S} UTC)"

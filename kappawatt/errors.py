"""The errors that kappawatt raises; foreign ones are translated at the door they come in by."""


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


class StateError(KappawattError):
    """Kept state does not fit together; it can be made anew from the log."""

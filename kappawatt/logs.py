"""What long-running programs say on stderr: lines for people, or a JSON object a line for what collects logs."""

import json
import logging
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from kappawatt import access
from kappawatt import settings as settings_
from kappawatt.errors import SettingsError
from kappawatt.settings import Settings

FORMATS = ("text", "json")
_VARIABLE = "KAPPAWATT_LOG_FORMAT"
_log = logging.getLogger("kappawatt")


class JsonLines(logging.Formatter):
    """A record as one line: `time` (UTC, to the millisecond), `level`, `program`, `logger`, `message`, `error`.

    The error is a traceback, if there is one. What a call gives as `extra={"fields": {…}}`
    stands beside them.

    Args:
        program: Which program of kappawatt speaks.
        part: Which of its processes, if there are several.
    """

    def __init__(self, program: str, part: int | None = None) -> None:
        super().__init__()
        self._own = {"program": program} | ({} if part is None else {"process": part})

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._own,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return json.dumps(line, ensure_ascii=False, default=str)


def begin(settings: Settings, program: str, part: int | None = None) -> None:
    """Speak as `log_format` says from here on, in this process and in those that it starts.

    With `json` the first line holds all settings, secrets masked. With `text` a program's own words stay as they are.

    Raises:
        SettingsError: There is no such format.
    """
    if settings.log_format not in FORMATS:
        raise SettingsError(f"log_format={settings.log_format!r} is neither text nor json; the default is text")
    if settings.log_format == "text":
        return
    os.environ[_VARIABLE] = "json"
    _as_json(program, part)
    _log.info("starting", extra={"fields": {"settings": _shown(settings)}})


def go_on(program: str, part: int, text: str) -> None:
    """In a process that a program started: speak as that does; lines of *text* if it does not speak JSON."""
    if os.environ.get(_VARIABLE) == "json":
        _as_json(program, part)
    else:
        logging.basicConfig(level=logging.INFO, format=text)


def in_json() -> bool:
    """Whether this process speaks JSON."""
    return any(isinstance(each.formatter, JsonLines) for each in logging.getLogger().handlers)


def _as_json(program: str, part: int | None) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(program, part))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _log.setLevel(logging.INFO)  # not the clients': they tell every request
    logging.captureWarnings(True)
    sys.excepthook = _unforeseen
    threading.excepthook = lambda each: _unforeseen(each.exc_type, each.exc_value, each.exc_traceback)


def _unforeseen(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    """An error that nobody caught, as a line like all others."""
    if error is not None:
        _log.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, where))


def _shown(settings: Settings) -> dict[str, Any]:
    """All settings as they may be printed, and the log-ins that are set."""
    ours = {one.name: getattr(settings, one.name) for one in settings_.about()}
    shown = {
        name: settings_.masked(value) if isinstance(value, str) else value
        for name, value in ours.items()
        if value is not None
    }
    return shown | {each.variable.name: each.shown for each in access.given(os.environ) if each.value is not None}

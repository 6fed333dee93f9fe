"""Being told to end: drain if it was this process, begin anew if it was another member of the flow."""

import os
import select
import signal
import sys
from typing import NoReturn

from .process import STOP

LOST = 72
"""Exit code of a member that was told to end and then lost another one: the start is over, nobody waits for it."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FIRST_FD = 3
_arrived: list[int] = []
"""Where a byte can be read as soon as a signal has arrived, which is before Python gets round to its handler."""


def stop_on_signals() -> None:
    """Drain on SIGTERM and SIGINT; for the main thread."""
    if not _arrived:
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        _arrived.append(heard)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: STOP.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def drained_by_another() -> bool:
    """Whether it was another member of the flow that was told to end, and not this one."""
    return STOP.is_set() and not _told()


def begin_anew() -> NoReturn:
    """Be this program from its first line on, as the same process: members that were left alone wait for a new start.

    What restarts programs need not, and so does not make them wait longer each time. A signal that comes from here on
    is kept for the new beginning; one that came before ends the process, as it was meant to. What `--rebuild` asked for
    is noted in the state by now, and is not asked for again.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    if _told():
        os._exit(LOST)
    _close_files()
    again = [each for each in sys.orig_argv[1:] if each != "--rebuild"]
    os.execv(sys.executable, [sys.executable, *again])  # noqa: S606 - our own command line


def _told() -> bool:
    return bool(_arrived) and bool(select.select(_arrived, [], [], 0)[0])


def _close_files() -> None:
    """Let no file, pipe or connection outlive the exec: libraries in C do not all ask for that."""
    for name in os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"):
        if int(name) >= _FIRST_FD:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                continue  # it was closed meanwhile, as the folder itself was

"""`kappawatt run -- CMD`: starts a command, passes signals on, waits for it; measuring goes on beside it."""

import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kappawatt.errors import KappawattError

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of a command that cannot be started, as in a shell (POSIX.1-2017, Shell §2.8.2)."""

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_WAITED = (*FORWARDED, signal.SIGCHLD)
_SI_KERNEL = 0x80
"""`si_code` of a signal that the terminal sent (asm-generic/siginfo.h): it has reached the command by itself."""


class CannotStartError(KappawattError):
    """A command that cannot be started, and the exit code that says so."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; of its two numbers one counts."""

    exit_code: int
    signal: int | None

    @property
    def code(self) -> int:
        """The exit code that a shell would give: the command's own, or 128 + n after signal n."""
        return self.exit_code if self.signal is None else 128 + self.signal

    @property
    def status(self) -> str:
        """The run's status."""
        return "succeeded" if self.code == 0 else "failed"


def find(command: Sequence[str]) -> None:
    """Check that *command* can be started, before anything is measured.

    Raises:
        CannotStartError: It is not there, or is not a program.
    """
    name = command[0]
    if shutil.which(name) is not None:
        return
    if os.path.dirname(name) and os.path.exists(name):
        raise CannotStartError(
            f"{name}: not a program that may be executed; chmod +x it, or put its interpreter before it", 126
        )
    raise CannotStartError(f"{name}: command not found", NOT_FOUND)


def hold_signals() -> None:
    """Keep signals for `wait`. Call before any thread begins: threads inherit it, so none of them can be hit."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by inheritance, it would reap the command unseen
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)


def spawn(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Start *command* with our stdin, stdout and stderr; its process id.

    Away from a terminal it leads a process group of its own, so that a signal reaches all of it. On a terminal it stays
    in ours, where Ctrl-C and Ctrl-Z reach it directly and reading is allowed.

    Raises:
        CannotStartError: The system refuses.
    """
    options: dict[str, Any] = {"setsigmask": [], "setsigdef": [signal.SIGPIPE]}
    if not os.isatty(0):
        options["setpgroup"] = 0
    try:
        return os.posix_spawnp(command[0], list(command), environ, **options)
    except FileNotFoundError as error:
        raise CannotStartError(f"{command[0]}: {error.strerror}", NOT_FOUND) from error
    except OSError as error:
        raise CannotStartError(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE) from error


def wait(pid: int, before_reaping: Callable[[Ended], object]) -> Ended:
    """Pass signals on until the command ends, call *before_reaping* while its counters can still be read, reap it."""
    while True:
        info = signal.sigtimedwait(_WAITED, 5)
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            break
        if info is not None and info.si_signo in FORWARDED:
            _forward(pid, info)
    how = Ended(found.si_status, None) if found.si_code == os.CLD_EXITED else Ended(0, found.si_status)
    before_reaping(how)
    os.waitpid(pid, 0)
    return how


def _forward(pid: int, info: signal.struct_siginfo) -> None:
    group = os.getpgid(pid)
    if group != os.getpgrp():
        os.killpg(group, info.si_signo)
    elif info.si_code != _SI_KERNEL:
        os.kill(pid, info.si_signo)

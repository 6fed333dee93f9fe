"""`track`: measures a training from inside it, and never breaks it.

All work (sensors, files, network) is done by one background thread; what the training calls only queues. No exception
leaves unless `strict=True`. A forked child does nothing. Nothing heavy is imported before a run starts.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import threading
from contextlib import contextmanager

# Type checkers know this name; typing itself, and logging below, would double the time of `import kappawatt`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType, TracebackType
    from typing import Any, ParamSpec, Self, TypeVar

    from kappawatt.recorder import Recorder
    from kappawatt.summary import Summary

    P = ParamSpec("P")
    R = TypeVar("R")

_open: list[Run] = []
"""Runs of this process that have not ended, oldest first: for exit, SIGTERM and fork."""
_hooked = False
_ending = 0
"""How many runs are being ended now."""
_waiting = False
"""SIGTERM came meanwhile."""
_previous: Any = None
"""The SIGTERM handler that was there before ours."""

STOP_LIMIT_S = 10.0
"""How long the end of a run may take before the training goes on without its last samples."""


class track:  # noqa: N801 - reads as what it does, `with kappawatt.track():`, like contextlib's own
    """Measures what is in the `with` block, or each call of the decorated function, as one run.

    ```
    with track(name="digits", project="vision") as run:
        with run.phase("train"):
            for n in range(10):
                run.epoch(n, loss=0.1)
    print(run.summary.energy_uj)
    ```

    Args:
        name: What a person calls it; also the start of the run's id.
        project: What it is booked to; so are *team* and *user* (default: the login name).
        model: Name of the model; *framework* and *dataset* likewise.
        zone: Electricity zone (`DE-LU`) or ISO-3 country (`DEU`) that the power comes from.
        labels: Anything else, as text.
        pue: Power usage effectiveness of the site, at least 1.
        run_id: An id of your own; the same on all hosts of a distributed run.
        scope: `process`: this process and its children, by their share of CPU, memory and GPU. `host`: all of it.
        log: Where records go, as `KAPPAWATT_LOG`; *registry* likewise.
        strict: Raise what goes wrong with measuring; else it is logged once and the training goes on.
        quiet: No summary on stderr at the end.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        project: str | None = None,
        model: str | None = None,
        zone: str | None = None,
        labels: Mapping[str, str] | None = None,
        user: str | None = None,
        team: str | None = None,
        framework: str | None = None,
        dataset: str | None = None,
        environment: str | None = None,
        pue: float | None = None,
        run_id: str | None = None,
        scope: str = "process",
        log: str | None = None,
        registry: str | None = None,
        strict: bool = False,
        quiet: bool = False,
    ) -> None:
        flags = {"log": log, "registry": registry, "zone": zone, "pue": pue}
        flags |= {"user": user, "team": team, "project": project, "environment": environment}
        about = {"model": model, "framework": framework, "dataset": dataset}
        self._strict = strict
        self._make = functools.partial(
            Run, name=name, run_id=run_id, scope=scope, labels=dict(labels or {}), flags=flags, about=about, quiet=quiet
        )
        self._run: Run | None = None

    def __enter__(self) -> Run:
        self._run = self._make(strict=self._strict)
        self._run._start()
        return self._run

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._run is not None:
            self._run.stop("succeeded" if _is_success(error) else "failed")

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """*function*, each call of which is a run of its own, named like the function unless a name was given."""
        import inspect  # not at the top: it is a fifth of the time of `import kappawatt.tracking`

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def measured_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._named(function):
                    return await function(*args, **kwargs)

            measured_too: Any = measured_async
            return measured_too  # type: ignore[no-any-return]  # a coroutine function is what came in

        @functools.wraps(function)
        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._named(function):
                return function(*args, **kwargs)

        return measured

    def _named(self, function: Callable[..., Any]) -> Self:
        copy = object.__new__(type(self))
        copy._strict, copy._run = self._strict, None
        name = self._make.keywords["name"] or getattr(function, "__name__", None)
        copy._make = functools.partial(self._make, name=name)
        return copy


class Run:
    """A run being measured: give it phases, epochs and metrics. `summary` is there once it has ended.

    All methods may be called from any thread; they return at once.
    """

    def __init__(self, *, strict: bool, **plan: Any) -> None:
        self._strict = strict
        self._plan = plan
        self._quiet: bool = plan.pop("quiet")
        self._pid = os.getpid()
        self._recorder: Recorder | None = None
        self._lock = threading.RLock()  # a signal handler may come here again while its own thread holds it
        self._warned = False
        self.summary: Summary | None = None
        """The run's own account; None while it runs, and if nothing could be measured."""

    def __repr__(self) -> str:
        state = "ended" if self.summary else "running" if self._recorder else "not measured"
        return f"<Run {self.id} {state}>"

    @property
    def id(self) -> str | None:
        """The run's id; None if it could not be started."""
        return self._recorder.run_id if self._recorder else None

    def phase(self, name: str) -> Phase:
        """A part of the run, for `with`: its energy is told apart. The innermost open phase counts."""
        return Phase(self, name)

    def epoch(self, n: int, **metrics: Any) -> None:
        """The end of epoch *n*, with what it reached: loss, accuracy, samples, tokens …"""
        self._safely(lambda recorder: recorder.event("epoch", epoch=int(n), metrics=_numbers(metrics)))

    def log(self, **metrics: Any) -> None:
        """Metrics at this instant, as numbers."""
        self._safely(lambda recorder: recorder.event("heartbeat", metrics=_numbers(metrics)))

    def stop(self, status: str = "succeeded") -> Summary | None:
        """End the run with *status* (`succeeded` or `failed`) and give its summary; a second call changes nothing."""
        if self._pid != os.getpid():
            return None
        with self._lock:
            recorder, self._live = (self._recorder if self._live else None), False
        if recorder is None:
            return self.summary
        with _unhurried():
            if self in _open:
                _open.remove(self)
            self._safely(lambda _: self._finish(recorder, status))
        _unhook_when_idle()
        return self.summary

    _live = False

    def _finish(self, recorder: Recorder, status: str) -> None:
        self.summary = recorder.stop(status, limit_s=STOP_LIMIT_S)
        if self.summary is not None and not self._quiet:
            import sys

            print(self.summary, file=sys.stderr, flush=True)

    def _start(self) -> None:
        try:
            from kappawatt.recorder import start

            # Two runs in one process would count its energy twice: the inner one takes part in the outer.
            self._recorder = start(**self._plan, inside=_open[-1].id if _open else None)
        except Exception as error:
            self._trouble(error)
        if self._recorder is None:
            return
        self._live = True
        _open.append(self)
        _hook()

    def _safely(self, do: Callable[[Recorder], object]) -> None:
        """Do it if there is a recorder and this is the process that started it; trouble is logged, never raised."""
        if self._recorder is None or self._pid != os.getpid():
            return
        try:
            do(self._recorder)
        except Exception as error:
            self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        if self._strict:
            raise error
        if not self._warned:
            self._warned = True
            import logging  # see above

            logging.getLogger("kappawatt").warning(
                "kappawatt: this run is not measured fully, the training goes on: %s", error
            )


class Phase:
    """One phase of a run, open inside its `with` block."""

    def __init__(self, run: Run, name: str) -> None:
        self._run, self._name = run, name

    def __enter__(self) -> Self:
        self._run._safely(lambda recorder: recorder.event("phase_start", phase=str(self._name)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._run._safely(lambda recorder: recorder.event("phase_end", phase=str(self._name)))


def _is_success(error: BaseException | None) -> bool:
    """A block that ended by itself, or by `sys.exit()` with success."""
    return error is None or (isinstance(error, SystemExit) and error.code in (None, 0))


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics as floats (a tensor of one item is one); None is left out.

    Raises:
        TypeError: One is no number.
    """
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _hook() -> None:
    """Be told of the end of this process, of SIGTERM and of forks, from the first run on."""
    global _hooked, _previous
    if not _hooked:
        _hooked = True
        atexit.register(_at_exit)
        os.register_at_fork(after_in_child=_forget)
    if threading.current_thread() is not threading.main_thread():
        return  # signal handlers belong to the main thread; exit and `with` still end the run
    current = signal.getsignal(signal.SIGTERM)
    # None: a handler that C code has set; SIG_IGN: somebody wants to live through it. Both are left alone.
    if current not in (None, signal.SIG_IGN, _on_sigterm):
        _previous = current
        signal.signal(signal.SIGTERM, _on_sigterm)


def _forget() -> None:
    """A forked child has no run: its parent measures it."""
    global _ending, _waiting
    _open.clear()
    _ending, _waiting = 0, False


def _unhook_when_idle() -> None:
    if _open or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, _previous)


def _at_exit() -> None:
    for run in list(_open):
        run.stop("failed")  # its block never ended


@contextmanager
def _unhurried() -> Iterator[None]:
    """SIGTERM waits while a run is being ended, so that its last samples are written; then it counts."""
    global _ending, _waiting
    _ending += 1
    try:
        yield
    finally:
        _ending -= 1
        if _waiting and not _ending:
            _waiting = False
            os.kill(os.getpid(), signal.SIGTERM)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    """End our runs, then do what SIGTERM did before."""
    global _waiting
    if _ending:
        _waiting = True
        return
    previous = _previous
    for run in list(_open):
        run.stop("failed")
    if callable(previous):
        previous(number, frame)
        return
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

"""The whole product on this machine: a real training measured, a simulated fleet, the flow, the page."""

import importlib.util
import json
import re
import selectors
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kappawatt import text
from kappawatt.errors import KappawattError
from kappawatt.processes import Child, Children
from kappawatt.programs import missing

START_LIMIT_S, CAUGHT_UP_LIMIT_S = 60.0, 60.0
_NEEDED = ("bytewax", "polars", "dash", "uvicorn", "sklearn")
_KAPPAWATT = ("-m", "kappawatt.cli")


@dataclass(slots=True)
class Progress:
    """What is known of the training, from its own lines and from the page's answers."""

    run_id: str | None = None
    began_s: float | None = None
    """When it told its run id, wall clock, s."""
    first_number_s: float | None = None
    """How long after that the page had the first energy, s."""
    epoch: dict[str, Any] = field(default_factory=dict)
    total: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] | None = None

    def line(self) -> str:
        """One line for a person."""
        parts = ["training" if self.run_id else "starting the training"]
        if self.epoch:
            parts.append(f"epoch {self.epoch['epoch']}, accuracy {self.epoch['accuracy']:.3f}")
        if self.total.get("energy_uj"):
            parts.append(f"{text.energy(self.total['energy_uj'])}, {text.emissions(self.total['emissions_g'])}")
        return " · ".join(parts)


def check_packages() -> None:
    """Raise KappawattError, with the command that installs it, if a package that the demo needs is missing."""
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise missing("demo", ModuleNotFoundError(name=package))


class Demo:
    """The demo's processes, and what they say. Times in seconds."""

    def __init__(self, children: Children, say: Callable[[str], None], progress: Callable[[str], None]) -> None:
        self._children, self._say, self._progress = children, say, progress
        self.url = ""
        """Of the page, with a / at its end."""
        self._running: list[Child] = []

    def start(self, port: int, *, open_browser: bool) -> None:
        """Start everything but the training, and return when the page answers."""
        self._say("starting the page, the flow and a simulated fleet …")
        no_open = [] if open_browser else ["--no-open"]
        page = self._children.start("page", [*_KAPPAWATT, "dash", "--port", str(port), *no_open])
        fleet = ["simulate", "--realtime", "--hosts", "3", "--runs", "2", "--gpus", "4"]
        self._children.start("intensity", [*_KAPPAWATT, "collect", "intensity"])
        self._running = [
            page,
            self._children.start("flow", [*_KAPPAWATT, "flow"]),
            self._children.start("fleet", [*_KAPPAWATT, "collect", *fleet]),
        ]
        self.url = _until(lambda: _told_url(page), START_LIMIT_S, "the page did not say its address", self.check)
        self._say(f"the page: {self.url}")
        _until(
            lambda: _ask(f"{self.url}api/runs").get("runs"), START_LIMIT_S, "the flow did not fill the page", self.check
        )

    def check(self) -> None:
        """Raise KappawattError if a process has ended that should not."""
        for child in self._running:
            child.check()

    def train(self, seconds: float) -> Progress:
        """Train for *seconds*, telling how it goes, until the flow has counted all of it."""
        child = self._children.start(
            "training", ["-m", "kappawatt.demo_training", "--seconds", str(seconds)], stdout=subprocess.PIPE
        )
        progress = Progress()
        for line in _lines(child):
            self.check()
            _take(progress, line)
            if progress.began_s is not None and progress.run_id is None:
                raise KappawattError(f"the training is not measured: {child.last_words()}")
            self._look(progress)
        if child.process.wait() != 0:
            raise KappawattError(f"the training ended with {child.process.returncode}: {child.last_words()}")
        if progress.summary is None:
            raise KappawattError(f"the training was not measured: {child.last_words()}")
        wanted = progress.summary["samples"]

        def caught_up() -> bool:
            self._look(progress)
            return bool(progress.total.get("samples") == wanted)

        _until(caught_up, CAUGHT_UP_LIMIT_S, f"the flow did not count all {wanted} samples of the training", self.check)
        return progress

    def _look(self, progress: Progress) -> None:
        """Ask the page for the run's total, and tell it now and then."""
        if progress.run_id is None or progress.began_s is None:
            return
        answer = _ask(f"{self.url}api/runs/{quote(progress.run_id, safe='')}")
        progress.total = answer.get("total") or progress.total
        if progress.first_number_s is None and progress.total.get("energy_uj"):
            progress.first_number_s = time.time() - progress.began_s
            self._say(f"first numbers on the page {progress.first_number_s:.1f} s after the training began")
        self._progress(progress.line())


def _lines(child: Child) -> Iterator[str]:
    """The lines that a child prints, and an empty one every half second in between."""
    assert child.process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(0.5):
                yield ""
                continue
            line = child.process.stdout.readline()
            if not line:
                return
            yield line


def _take(progress: Progress, line: str) -> None:
    told = json.loads(line) if line.strip() else {}
    if "run_id" in told:
        progress.run_id, progress.began_s = told["run_id"], told["at"]
    elif "epoch" in told:
        progress.epoch = told
    elif "summary" in told:
        progress.summary = told["summary"]


def _told_url(page: Child) -> str | None:
    found = re.search(r"the page is at (http://\S+)", page.messages.read_text(encoding="utf-8"))
    return found[1] if found else None


def _ask(url: str) -> dict[str, Any]:
    """The page's JSON answer; empty while it cannot answer, or does not know the run yet."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own page on this machine
            return dict(json.load(answer))
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return {}


def _until(condition: Callable[[], Any], limit_s: float, otherwise: str, check: Callable[[], None]) -> Any:
    """What *condition* gives as soon as it gives something."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        check()
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise KappawattError(f"{otherwise} within {limit_s:g} s; see the .log files in the demo's folder")


def told(progress: Progress) -> dict[str, Any]:
    """The answer of the demo: the flow's numbers, and the training's own beside them."""
    assert progress.summary is not None
    total, own = progress.total, progress.summary
    return {
        "run_id": progress.run_id,
        "energy_uj": total["energy_uj"],
        "energy_kwh": total["energy_uj"] / 3.6e12,
        "zone": own["zone"],
        "emissions_g": total["emissions_g"],
        "intensity_g_per_kwh": total["intensity_g_per_kwh"],
        "intensity_kind": total["intensity_kind"],
        "coverage": total["coverage"],
        "samples": total["samples"],
        "estimated_uj": total["estimated_uj"],
        "methods": {name: use["methods"] for name, use in own["devices"].items()},
        "energy_by_training_uj": own["energy_uj"],
        "agrees": total["energy_uj"] == own["energy_uj"],
        "first_number_s": progress.first_number_s,
        "duration_s": own["duration_s"],
    }


def print_told(answer: dict[str, Any], *, out: Any = None) -> None:
    """The answer for a person."""
    methods = ", ".join(f"{name} by {'+'.join(used)}" for name, used in answer["methods"].items())
    same = "the same to the microjoule" if answer["agrees"] else f"NOT the same: {answer['energy_by_training_uj']} µJ"
    first = answer["first_number_s"]
    price = f"{text.digits(answer['intensity_g_per_kwh'])} g/kWh, {answer['zone']}, {answer['intensity_kind']}"
    energy = f"{text.energy(answer['energy_uj'])} = {text.kilowatt_hours(answer['energy_uj'])} kWh"
    lines = [
        ("run", answer["run_id"]),
        ("energy", f"{energy} ({answer['energy_uj']:,} µJ)"),
        ("emissions", f"{text.emissions(answer['emissions_g'])} ({price})"),
        ("method", methods),
        ("coverage", f"{text.share(answer['coverage'])} of {answer['duration_s']:.0f} s, {answer['samples']} samples"),
        ("the training's own sum", same),
        ("first numbers", "-" if first is None else f"{first:.1f} s after the training began"),
    ]
    for name, value in lines:
        print(f"{name + ':':<24}{value}", file=out or sys.stdout, flush=True)


def kept(folder: Path) -> str:
    """How to look again at what a demo left in *folder*."""
    return f"look again with: kappawatt dash --log file:{folder / 'log'} --store sqlite:{folder / 'ledger.sqlite'}"


def ahead() -> str:
    """What a person does after the demo."""
    return "now measure something of your own: kappawatt run -- python train.py; --dir DIR keeps a demo's log and store"

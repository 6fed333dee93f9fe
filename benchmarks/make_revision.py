"""An hour's price is revised while the flow runs: every row over it agrees before, and again after.

    make demo-revision        or: python -m benchmarks.make_revision [--folder DIR]

A run draws 300 W for an hour at 124 g/kWh; the grid's operator corrects that hour to 104. Real flow, files, SQLite; the
5-s rows are final by then and live in the store only. Ends with 1 if anything disagrees.
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kappawatt.log.spool import Spool
from kappawatt.stores import Store, open_store
from kappawatt.wire.records import Intensity, RunEvent, Sample

ROOT = Path(__file__).resolve().parents[1]
SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
RUN, ZONE = "revision-demo", "DE-LU"
WINDOWS = ("run_window_5s", "run_window_5m", "run_window_1h")
KWH = 0.3  # 300 W for an hour
_LIMIT_S = 60

Sums = dict[str, float]


def sums(store: Store, date: str) -> Sums:
    """Grams of the run by table, each the sum of its rows."""
    rows = {name: store.read(name, {"run_id": RUN, "date": date}) for name in WINDOWS}
    rows["run_total"] = store.read("run_total", {"run_id": RUN})
    rows["zone_window_1h"] = store.read("zone_window_1h", {"zone": ZONE, "date": date})
    return {name: math.fsum(row["emissions_g"] or 0.0 for row in found) for name, found in rows.items()}


def agree(found: Sums, grams: float) -> bool:
    """Whether all tables have this sum, but for the rounding of the sums."""
    return all(math.isclose(value, grams, rel_tol=1e-12) for value in found.values())


def work(start: int) -> list[Sample | RunEvent | Intensity]:
    """An hour of the run by samples of a minute, and one of nothing much later, by which the hour is final."""
    blank = {"utilization": (math.nan,), "temperature_c": (math.nan,), "memory_bytes": (-1,), "device": ("gpu:0",)}
    first = Sample(
        collector_id="demo", seq=0, host="h1", run_id=RUN, zone=ZONE, start=start, end=start + 60 * SECOND,
        kind=(2,), method=(1,), energy_uj=(300 * 60 * SECOND,), **blank,
    )  # fmt: skip
    minute = 60 * SECOND
    ticks = [replace(first, seq=n, start=start + n * minute, end=start + (n + 1) * minute) for n in range(60)]
    last = replace(first, seq=60, energy_uj=(0,), start=start + 3 * HOUR, end=start + 3 * HOUR + minute)
    return [RunEvent(event_id="start", run_id=RUN, type="start", at=start, zone=ZONE), *ticks, last]


def price(start: int, grams: float, revision: int) -> Intensity:
    """What the operator says of the hour, once more each time."""
    return Intensity(
        zone=ZONE, valid_from=start, valid_to=start + HOUR, intensity_g_per_kwh=grams, kind="actual", signal="average",
        provider="operator", dataset="demo", revision=revision, published_at=start + (2 + revision) * HOUR,
    )  # fmt: skip


def wait_for(what: str, flow: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    """Return when *ready*."""
    deadline = time.monotonic() + _LIMIT_S
    while not ready():
        if flow.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"waited {_LIMIT_S} s for {what}; the flow {'runs' if flow.poll() is None else 'ended'}")
        time.sleep(0.1)


def demonstrate(folder: Path) -> tuple[Sums, Sums, list[dict[str, Any]]]:
    """Sums before and after the revision, and the restatements."""
    start = int(time.time() * 1e6) // DAY * DAY - DAY + 6 * HOUR
    date = time.strftime("%Y-%m-%d", time.gmtime(start // SECOND))
    url = f"sqlite:{folder / 'store.db'}"
    store = open_store(url)
    spool = Spool(folder / "log", host="h1", program="demo")
    spool.append(price(start, 124.0, 1), *work(start))
    spool.sync()
    command = [sys.executable, "-m", "kappawatt", "flow", "--epoch-s", "0.3", "--state", str(folder / "state")]
    command += ["--log", f"file:{folder / 'log'}", "--store", url]
    flow = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    hour = {"run_id": RUN, "date": date}
    try:
        final = lambda: all(row["final"] for row in store.read("run_window_1h", hour, limit=1) or [{"final": False}])  # noqa: E731
        wait_for("final rows", flow, lambda: agree(sums(store, date), KWH * 124.0) and final())
        before = sums(store, date)
        spool.append(price(start, 104.0, 2))
        spool.sync()
        wait_for("the revision", flow, lambda: agree(sums(store, date), KWH * 104.0))
        return before, sums(store, date), store.read("restatement", hour)
    finally:
        flow.send_signal(signal.SIGTERM)
        flow.wait(_LIMIT_S)
        spool.close()
        store.close()


def main() -> int:
    """Show it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep log, store and state here; default: a temporary folder")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        before, after, restated = demonstrate(folder or Path(temporary))
    print(f"{'table':16} {'before':>12} {'after':>12}   g CO2e of run {RUN}")
    for name in before:
        print(f"{name:16} {before[name]:12.6f} {after[name]:12.6f}")
    for row in restated:
        print(f"restatement      {row['old_emissions_g']:12.6f} {row['new_emissions_g']:12.6f}   ", end="")
        print(f"{row['old_g_per_kwh']:g} -> {row['new_g_per_kwh']:g} g/kWh, {row['reason']}, applied: {row['applied']}")
    return 0 if len(restated) == 1 and agree({"restatement": restated[0]["new_emissions_g"]}, KWH * 104.0) else 1


if __name__ == "__main__":
    sys.exit(main())

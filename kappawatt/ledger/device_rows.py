"""Device rows of a shard: (run, host, device) by 5-min window, while the window is open (docs/semantics.md §2)."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.frames import DEVICE_COLUMNS, Device, Frame
from kappawatt.ledger.keys import WINDOW_SHIFT, window_of
from kappawatt.ledger.rows import Row, dates
from kappawatt.stream.intern import Register
from kappawatt.stream.table import KeyedTable, distinct
from kappawatt.units import WINDOW_5M_US

Ints = NDArray[np.int64]

_NOBODYS = Device("", "", "")
_EVERY = 16
"""Open rows are shown every so many flushes: a drill-down need not be as fresh as the totals."""


class DeviceRows:
    """Sums of readings by `window << 32 | device`. A row is dropped once it is final: nothing prices it later."""

    def __init__(self, config: LedgerConfig, runs: Register[str]) -> None:
        self._config = config
        self._runs = runs
        self._devices: Register[Device] = Register(_NOBODYS)
        self._run_of = np.empty(0, np.int64)
        self._is_gpu = np.empty(0, bool)
        self._table = KeyedTable(DEVICE_COLUMNS)
        self._dirty: list[Ints] = []
        self._ended = False
        self._forgotten = -1 << 31

    def __repr__(self) -> str:
        return f"<DeviceRows {len(self._table)} open, {len(self._devices)} devices>"

    def fold(self, frames: Sequence[Frame], frontier: Ints) -> Counter[int]:
        """Take the device columns of frames whose runs are known; how many GPUs each run (by code) gained."""
        codes = [np.array(self._codes(frame.devices), np.int64) for frame in frames]
        device = np.concatenate([code[frame.device] for code, frame in zip(codes, frames, strict=True)])
        window = np.concatenate([frame.device_window for frame in frames])
        values = {name: np.concatenate([frame.device_rows[name] for frame in frames]) for name in DEVICE_COLUMNS}
        over = self._is_over(device, window, frontier)
        gained = self._count_gpus(device[values["is_gpu"] == 1])
        if over.any():
            device, window = device[~over], window[~over]
            values = {name: column[~over] for name, column in values.items()}
        self._dirty.append(self._table.merge(window << WINDOW_SHIFT | device, values))
        return gained

    def rows(self, frontier: Ints, ended: bool, flushes: int, skips: Callable[[Ints], bool]) -> list[Row]:
        """Rows to show: the final ones, from time to time the changed ones, and at the end all; none if *skips* so."""
        key = self._table.key
        over = self._is_over(key & 0xFFFFFFFF, window_of(key), frontier)
        dirty = distinct(np.concatenate(self._dirty)) if self._dirty else np.empty(0, np.int64)
        if ended and not self._ended:
            dirty = key.copy()
        self._ended = ended
        shown = np.flatnonzero(over | np.isin(key, dirty)) if ended or flushes % _EVERY == 0 else np.flatnonzero(over)
        if ended or flushes % _EVERY == 0:
            self._dirty = []
        made = [] if skips(shown) else self._make(shown, over[shown] | ended)
        if over.any():
            self._table.drop(over)
        return made

    def forget_before(self, window: int) -> None:
        """Hold windows before this one for over: the next rows show them for the last time."""
        self._forgotten = window

    def forget_runs(self, runs: Collection[int]) -> None:
        """Give back the devices of runs that are forgotten: none of their windows is open any more."""
        if not runs:
            return
        mine = np.isin(self._run_of, np.array(sorted(runs), np.int64))
        self._table.drop(mine[self._table.key & 0xFFFFFFFF])
        for code in np.flatnonzero(mine).tolist():
            self._devices.release(code)
        self._run_of[mine], self._is_gpu[mine] = -1, False

    def dump(self) -> tuple[Any, ...]:
        """Plain state; what was not shown yet is shown after `load`."""
        dirty = distinct(np.concatenate(self._dirty)) if self._dirty else np.empty(0, np.int64)
        return (
            self._devices.dump(),
            self._is_gpu[: len(self._devices)].copy(),
            self._table.dump(),
            dirty,
        )

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave; the runs must be loaded before."""
        devices, is_gpu, table, dirty = state
        self._is_gpu = is_gpu.copy()
        self._devices.undump(devices, Device._make)
        self._run_of = np.array([self._run(device) for device in self._devices.names], np.int64)
        self._table.load(table)
        self._dirty = [dirty]

    def _codes(self, devices: Sequence[Device]) -> list[int]:
        known = self._devices.find(devices)
        return [self._code(device) if code is None else code for device, code in zip(devices, known, strict=True)]

    def _code(self, device: Device) -> int:
        code = self._devices.code(device)
        if code >= len(self._run_of):
            more = max(64, len(self._run_of))
            self._run_of = np.concatenate((self._run_of, np.full(more, -1)))
            self._is_gpu = np.concatenate((self._is_gpu, np.zeros(more, bool)))
        self._run_of[code] = self._run(device)
        return code

    def _run(self, device: Device) -> int:
        return self._runs.code(device.run_id) if device.run_id else -1

    def _count_gpus(self, device: Ints) -> Counter[int]:
        """How many devices are GPUs that were not known as such, by run."""
        fresh = distinct(device[~self._is_gpu[device]])
        self._is_gpu[fresh] = True
        return Counter(self._run_of[fresh].tolist())

    def _is_over(self, device: Ints, window: Ints, frontier: Ints) -> NDArray[np.bool_]:
        evicted = (window + 1) * WINDOW_5M_US + self._config.lateness_us <= frontier[self._run_of[device]]
        return evicted | (window < self._forgotten)

    def _make(self, at: Ints, final: NDArray[np.bool_]) -> list[Row]:
        if len(at) == 0:
            return []
        key = self._table.key[at]
        start = window_of(key) * WINDOW_5M_US
        devices = [self._devices[code] for code in (key & 0xFFFFFFFF).tolist()]
        column = {name: self._table.take(name, at).tolist() for name in DEVICE_COLUMNS}
        known = zip(column["utilization_ppm"], column["utilization_known"], strict=True)
        return list(
            zip(
                [device.run_id for device in devices],
                dates(start),
                [device.host for device in devices],
                start.tolist(),
                [device.name for device in devices],
                column["kind"],
                column["energy_uj"],
                column["estimated_uj"],
                column["samples"],
                [ppm / count / 1_000_000 if count else None for ppm, count in known],
                [None if value == -np.inf else value for value in column["temperature_c_max"]],
                [None if value < 0 else value for value in column["memory_bytes_max"]],
                final.tolist(),
                strict=True,
            )
        )

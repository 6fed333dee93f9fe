"""The words of measuring: a device, a reading of it, and a source that is asked for readings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kappawatt.wire.codes import DeviceKind, Method

GAP = "gap"
COUNTER_RESET = "counter_reset"
IMPLAUSIBLE = "implausible"
CLOCK_STEP = "clock_step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One thing that draws power. `name` is short and unique on its host; `tdp_w` its power limit, None: unknown."""

    name: str
    kind: DeviceKind
    model: str = ""
    uuid: str = ""
    tdp_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one device drew since the last reading of it: whole µJ of IT energy, and its state at the end.

    `utilization` is 0–1 and `temperature_c` in °C, NaN where unknown; `memory_bytes` in use, −1 where unknown.
    """

    device: str
    kind: DeviceKind
    method: Method
    energy_uj: int
    utilization: float = math.nan
    temperature_c: float = math.nan
    memory_bytes: int = -1
    flags: tuple[str, ...] = ()


class Source(Protocol):
    """Something that is asked for readings: NVML, powercap, a model.

    The first `read` sets the baseline and returns nothing. A device without a reading is absent from the answer and
    listed in `missed`, never given as zero; its counter is kept, so its next reading carries the energy in between.
    """

    @property
    def name(self) -> str:
        """What is asked, as stamped on choices: `rapl.powercap`, `nvml`, `model.teads`."""
        ...

    @property
    def missed(self) -> Mapping[str, str]:
        """Devices without a reading in the last `read`, each with the flag that says why (`gap`, `counter_reset`)."""
        ...

    def devices(self) -> Sequence[Device]:
        """The devices it reads, in a fixed order."""
        ...

    def read(self, now_monotonic_us: int) -> list[Reading]:
        """Energy since the last call, by device.

        Raises:
            SourceGone: It ended as expected; stop asking.
            SourceBusy: Not now; ask again, nothing is lost.
            SourceBroken: A person must mend it.
        """
        ...

"""RAPL: the energy counters of CPU packages and their memory, read from the kernel's powercap tree."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kappawatt.errors import SourceBroken, SourceBusy, SourceGone
from kappawatt.sensors.counter import First, Moved, Restarted, Wrapped, believe, step
from kappawatt.sensors.source import COUNTER_RESET, GAP, IMPLAUSIBLE, Device, Reading
from kappawatt.units import US_PER_S
from kappawatt.wire.codes import DeviceKind, Method

POWERCAP = Path("/sys/class/powercap")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

UNKNOWN_TDP_W = 400.0
"""TDP taken for plausibility where the kernel names none: above nearly all packages of 2025."""

HEADROOM = 1.5
"""A package may draw this much of its TDP for seconds (turbo)."""

FROZEN_US = 5 * US_PER_S
"""A counter of a powered package that stands still for so long is not counting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """One counter of the tree. `limit_uj` None: the kernel names no range, so a step back is always a restart."""

    path: Path
    device: Device
    limit_uj: int | None
    max_power_w: float

    def read_uj(self) -> int:
        """The counter now.

        Raises:
            SourceBusy: The read failed; the next may not.
            SourceBroken: It is not allowed.
        """
        counter = self.path / "energy_uj"
        try:
            return int(counter.read_text())
        except PermissionError as error:
            raise SourceBroken(
                f"{counter} was to be read and only root may; run `kappawatt collect host` as root (track() then uses "
                f"it), or until the next boot: sudo chmod o+r {counter}"
            ) from error
        except FileNotFoundError as error:
            raise SourceGone(f"{counter} was to be read and is not there any more") from error
        except (OSError, ValueError) as error:
            raise SourceBusy(f"{counter} was to be read and gave no number: {error or type(error).__name__}") from error


@dataclass(slots=True)
class _Seen:
    """The last good reading of a zone."""

    uj: int
    at_us: int
    moved_us: int
    boot: str
    late: bool = False


class RaplSource:
    """CPU packages and their DRAM, by counter.

    Only `package` and `dram` zones count: psys holds the packages, packages hold core and uncore. A package that the
    tree shows twice (MSR and MMIO, or mirrored by dies) is read once.

    Args:
        root: The powercap tree.
        boot_id: File that changes with every boot.

    Raises:
        SourceGone: There is no such tree, or no package in it.
        SourceBroken: It may not be read; the message says how to mend it.
    """

    name = "rapl.powercap"

    def __init__(self, root: Path = POWERCAP, *, boot_id: Path = BOOT_ID) -> None:
        self._boot_id = boot_id
        self._zones = find_zones(root)
        self._seen: dict[str, _Seen] = {}
        self._missed: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<RaplSource {', '.join(zone.device.name for zone in self._zones)}>"

    @property
    def missed(self) -> Mapping[str, str]:
        """See `Source.missed`."""
        return self._missed

    def zones(self) -> tuple[Zone, ...]:
        """The counters it reads."""
        return self._zones

    def devices(self) -> list[Device]:
        """Packages as `cpu:N`, their memory as `memory:N`."""
        return [zone.device for zone in self._zones]

    def keep(self, devices: frozenset[str]) -> None:
        """Read only these devices from now on."""
        self._zones = tuple(zone for zone in self._zones if zone.device.name in devices)

    def advancing(self, wait: Callable[[float], None], *, tries: int = 25, pause_s: float = 0.002) -> frozenset[str]:
        """The devices whose counter goes on within tries · pause: RAPL moves every millisecond, a dead one never."""
        first = {zone.device.name: zone.read_uj() for zone in self._zones}
        found: set[str] = set()
        for _ in range(tries):
            wait(pause_s)
            found |= {zone.device.name for zone in self._zones if zone.read_uj() != first[zone.device.name]}
            if len(found) == len(first):
                break
        return frozenset(found)

    def read(self, now_monotonic_us: int) -> list[Reading]:
        """Energy by counter since the last good reading of each device."""
        self._missed = {}
        readings = []
        for zone in self._zones:
            reading = self._read_zone(zone, now_monotonic_us)
            if reading is not None:
                readings.append(reading)
        return readings

    def _read_zone(self, zone: Zone, now_us: int) -> Reading | None:
        name = zone.device.name
        seen = self._seen.get(name)
        try:
            uj = zone.read_uj()
        except SourceBusy:
            # The counter before is kept: the next good reading carries the energy of both intervals.
            self._missed[name] = GAP
            if seen:
                seen.late = True
            return None
        found = step(seen.uj if seen else None, uj, zone.limit_uj)
        if isinstance(found, Wrapped) and seen:
            same_boot = seen.boot == self._boot()
            elapsed_us = now_us - seen.at_us
            found = believe(found, elapsed_us=elapsed_us, max_power_w=zone.max_power_w, same_boot=same_boot)
        if isinstance(found, First | Restarted) or seen is None:
            self._seen[name] = _Seen(uj=uj, at_us=now_us, moved_us=now_us, boot=self._boot())
            if isinstance(found, Restarted):
                self._missed[name] = COUNTER_RESET
            return None
        return self._reading(zone, found, seen, uj, now_us)

    def _reading(self, zone: Zone, found: Moved | Wrapped, seen: _Seen, uj: int, now_us: int) -> Reading | None:
        if not found.uj and now_us - seen.moved_us >= FROZEN_US:
            self._missed[zone.device.name] = GAP
            return None
        flags = [GAP] if seen.late else []
        if found.uj > zone.max_power_w * (now_us - seen.at_us):
            flags.append(IMPLAUSIBLE)
        self._seen[zone.device.name] = _Seen(
            uj=uj, at_us=now_us, moved_us=now_us if found.uj else seen.moved_us, boot=seen.boot
        )
        return Reading(
            device=zone.device.name,
            kind=zone.device.kind,
            method=Method.COUNTER,
            energy_uj=found.uj,
            flags=tuple(flags),
        )

    def _boot(self) -> str:
        try:
            return self._boot_id.read_text().strip()
        except OSError:
            return ""


def find_zones(root: Path) -> tuple[Zone, ...]:
    """The package and DRAM counters below *root*, each hardware counter once; errors as of `RaplSource`."""
    packages: dict[str, Path] = {}
    # "intel-rapl:0" sorts before "intel-rapl-mmio:0" by length; the first of a name wins, so MSR goes before MMIO.
    for path in sorted(_entries(root), key=lambda path: (len(path.name), path.name)):
        name = _text(path / "name")
        if name.startswith("package"):
            packages.setdefault(name, path)
    if not packages:
        raise SourceGone(
            f"{root} was searched for RAPL packages and has none: a virtual machine, a container without "
            "/sys, or a CPU without RAPL; energy is modelled instead"
        )
    ordered = sorted(packages, key=_natural)
    zones: list[Zone] = []
    for path in (packages[name] for name in ordered):
        zone = _zone(path, Device(name=f"cpu:{len(zones)}", kind=DeviceKind.CPU, tdp_w=_tdp_w(path)))
        if not any(_mirrors(other, zone) for other in zones):
            zones.append(zone)
    return (*zones, *_memory_zones(root, zones))


def _memory_zones(root: Path, packages: list[Zone]) -> list[Zone]:
    zones = []
    for package in packages:
        for path in sorted(p for p in _entries(root) if p.name.startswith(f"{package.path.name}:")):
            if _text(path / "name") == "dram":
                name = package.device.name.replace("cpu", "memory")
                zones.append(_zone(path, Device(name=name, kind=DeviceKind.MEMORY)))
    return zones


def _zone(path: Path, device: Device) -> Zone:
    limit = _number(path / "max_energy_range_uj")
    tdp_w = device.tdp_w or UNKNOWN_TDP_W
    zone = Zone(path=path, device=device, limit_uj=limit or None, max_power_w=tdp_w * HEADROOM)
    try:
        zone.read_uj()
    except SourceBusy as error:
        raise SourceBroken(f"{error}; the kernel's RAPL driver does not work, energy is modelled instead") from error
    return zone


def _tdp_w(path: Path) -> float | None:
    power_uw = _number(path / "constraint_0_max_power_uw")
    return power_uw / 1e6 if power_uw else None


def _mirrors(one: Zone, other: Zone) -> bool:
    """Whether both show one hardware counter: a reading of *other* that lies between two of *one*, both moving or not.

    Multi-die parts show one counter per die of the same socket; counters of µJ meet by chance about never.
    """
    if _socket(one) != _socket(other):
        return False
    before, between, after = one.read_uj(), other.read_uj(), one.read_uj()
    return before <= between <= after


def _socket(zone: Zone) -> str:
    return _text(zone.path / "name").split("-die")[0]


def _entries(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if path.name.startswith("intel-rapl") and ":" in path.name]
    except OSError as error:
        raise SourceGone(
            f"{root} was to be read and is not there ({error.strerror}): this kernel has no powercap"
        ) from error


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdecimal() else 0


def _natural(name: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", name)]

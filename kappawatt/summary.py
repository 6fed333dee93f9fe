"""What a run used, told at its end: the sum of the very samples that went to the log. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kappawatt import text
from kappawatt.units import US_PER_S, kwh
from kappawatt.wire.codes import Method
from kappawatt.wire.records import Intensity, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The grid intensity that a summary is told with: one value, and where it is from (provider, data set, kind)."""

    zone: str
    g_per_kwh: float
    source: str
    kind: str = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """What the run used of one device, µJ, and by which methods it is known."""

    energy_uj: int
    methods: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """Sums over a run's samples, in whole µJ: the same that the flow will count."""

    samples: int = 0
    first_start_us: int | None = None
    last_end_us: int | None = None
    covered_us: int = 0
    estimated_uj: int = 0
    cpu_time_us: int = 0
    flags: set[str] = field(default_factory=set)
    _energy: dict[str, int] = field(default_factory=dict)
    _methods: dict[str, set[str]] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Count one sample; intervals do not overlap, as the meter guarantees."""
        self.samples += 1
        self.first_start_us = sample.start if self.first_start_us is None else min(self.first_start_us, sample.start)
        self.last_end_us = sample.end if self.last_end_us is None else max(self.last_end_us, sample.end)
        self.covered_us += sample.end - sample.start
        self.cpu_time_us += max(0, sample.cpu_time_us)
        self.flags.update(sample.flags)
        for device, method, energy_uj in zip(sample.device, sample.method, sample.energy_uj, strict=True):
            known = Method(method)
            self._energy[device] = self._energy.get(device, 0) + energy_uj
            self._methods.setdefault(device, set()).add(known.name.lower())
            if not known.measured:
                self.estimated_uj += energy_uj

    @property
    def energy_uj(self) -> int:
        """All energy so far, µJ of IT energy."""
        return sum(self._energy.values())

    def devices(self) -> dict[str, DeviceUse]:
        """Use per device, the greatest first."""
        order = sorted(self._energy, key=lambda name: (-self._energy[name], name))
        return {n: DeviceUse(energy_uj=self._energy[n], methods=tuple(sorted(self._methods[n]))) for n in order}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run's own account of itself. Energy is IT energy in µJ; emissions include the PUE.

    `energy_uj` is exactly what the flow counts for this host, since both add up the same samples. Emissions are by the
    bundled yearly value of the zone and will differ once the flow knows a better one.
    """

    run_id: str
    status: str
    energy_uj: int
    estimated_uj: int
    duration_us: int
    """From the first sample's start to the last one's end."""
    coverage: float | None
    samples: int
    devices: Mapping[str, DeviceUse]
    price: Price | None
    pue: float | None
    notes: tuple[str, ...] = ()
    view: str = ""

    @property
    def emissions_g(self) -> float | None:
        """Grams of CO2e: PUE · energy · intensity; None if no intensity is known, or nothing was measured."""
        return (
            None
            if self.price is None or not self.samples
            else kwh(self.energy_uj) * (self.pue or 1.0) * self.price.g_per_kwh
        )

    @property
    def mean_power_w(self) -> float | None:
        """Energy over duration, W."""
        return self.energy_uj / self.duration_us if self.duration_us else None

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data, units in the names."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "energy_uj": self.energy_uj,
            "energy_kwh": kwh(self.energy_uj),
            "estimated_uj": self.estimated_uj,
            "emissions_g": self.emissions_g,
            "intensity_g_per_kwh": self.price.g_per_kwh if self.price else None,
            "intensity_kind": self.price.kind if self.price else None,
            "intensity_source": self.price.source if self.price else None,
            "zone": self.price.zone if self.price else None,
            "pue": self.pue,
            "duration_s": self.duration_us / US_PER_S,
            "mean_power_w": self.mean_power_w,
            "coverage": self.coverage,
            "samples": self.samples,
            "devices": {n: {"energy_uj": u.energy_uj, "methods": list(u.methods)} for n, u in self.devices.items()},
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [
            f"kappawatt: run {self.run_id} {self.status}",
            *(f"  {name:<10}{value}" for name, value in self._facts()),
        ]
        return "\n".join(lines)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("energy", self._energy()), ("emissions", self._emissions()), ("method", self._method())]
        facts += [
            ("coverage", f"{text.share(self.coverage)} of {text.duration(self.duration_us)}, {self.samples} samples")
        ]
        facts += [("note", note) for note in self.notes]
        return facts + ([("view", self.view)] if self.view else [])

    def _energy(self) -> str:
        if not self.samples:
            return "unknown: no sample was taken here"
        watts = self.mean_power_w
        mean = f", mean {text.digits(watts)} W" if watts is not None else ""
        return f"{text.kilowatt_hours(self.energy_uj)} kWh ({text.energy(self.energy_uj)}{mean})"

    def _emissions(self) -> str:
        if self.price is None:
            return "unknown: no grid intensity; set --zone"
        if not self.samples:
            return "unknown"
        pue = f"PUE {self.pue:g}" if self.pue else "no PUE given"
        value = f"{text.digits(self.price.g_per_kwh)} g/kWh {self.price.zone}"
        return f"{text.emissions(self.emissions_g)} ({value}, {self.price.kind}, {self.price.source}; {pue})"

    def _method(self) -> str:
        if not self.devices:
            return "nothing was measured"
        return ", ".join(f"{n} {'+'.join(u.methods)} {text.energy(u.energy_uj)}" for n, u in self.devices.items())


def price_of(records: Sequence[Intensity]) -> Price | None:
    """The first of a zone's records as a price; None if there is none."""
    if not records:
        return None
    best = records[0]
    source = f"{best.provider} {best.revision}"
    return Price(zone=best.zone, g_per_kwh=best.intensity_g_per_kwh, source=source, kind=best.kind)


def summarise(
    tally: Tally,
    *,
    run_id: str,
    status: str,
    price: Price | None,
    pue: float | None,
    notes: tuple[str, ...] = (),
    view: str = "",
) -> Summary:
    """The summary of what *tally* has counted. Coverage: time with samples ÷ time from the first to the last."""
    first, last = tally.first_start_us, tally.last_end_us
    span = 0 if first is None or last is None else last - first
    return Summary(
        run_id=run_id,
        status=status,
        energy_uj=tally.energy_uj,
        estimated_uj=tally.estimated_uj,
        duration_us=span,
        coverage=min(1.0, tally.covered_us / span) if span else None,
        samples=tally.samples,
        devices=tally.devices(),
        price=price,
        pue=pue,
        notes=notes,
        view=view,
    )

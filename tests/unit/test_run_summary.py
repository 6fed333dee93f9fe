"""A run's summary: sums of its samples, and what is unknown stays unknown."""

import pytest

from kappawatt.summary import Price, Summary, Tally, summarise
from kappawatt.wire.codes import DeviceKind, Method
from kappawatt.wire.records import Sample

GERMANY = Price(zone="DEU", g_per_kwh=342.0, source="ember 2024")


def sample(start: int, end: int, cpu_uj: int, gpu_uj: int, *, gpu: Method = Method.COUNTER) -> Sample:
    nan = float("nan")
    return Sample(
        collector_id="c",
        seq=start,
        host="h",
        run_id="r",
        zone="DEU",
        start=start,
        end=end,
        kind=(int(DeviceKind.CPU), int(DeviceKind.GPU)),
        method=(int(Method.MODEL), int(gpu)),
        energy_uj=(cpu_uj, gpu_uj),
        device=("cpu:0", "gpu:0"),
        utilization=(0.5, 0.5),
        temperature_c=(nan, nan),
        memory_bytes=(-1, -1),
        cpu_time_us=10,
    )


def told(*samples: Sample, price: Price | None = GERMANY, pue: float | None = None) -> Summary:
    tally = Tally()
    for each in samples:
        tally.add(each)
    return summarise(tally, run_id="r", status="succeeded", price=price, pue=pue)


def test_energy_is_the_sum_and_the_estimated_part_is_told_apart() -> None:
    summary = told(sample(0, 1_000_000, 3, 7), sample(1_000_000, 2_000_000, 5, 11, gpu=Method.POWER))

    assert (summary.energy_uj, summary.estimated_uj) == (26, 8)
    assert {name: use.methods for name, use in summary.devices.items()} == {
        "gpu:0": ("counter", "power"),
        "cpu:0": ("model",),
    }


def test_coverage_is_time_with_samples_over_time_from_first_to_last() -> None:
    summary = told(sample(0, 1_000_000, 1, 1), sample(3_000_000, 4_000_000, 1, 1))

    assert (summary.coverage, summary.duration_us) == (0.5, 4_000_000)


def test_emissions_are_energy_times_pue_times_intensity() -> None:
    summary = told(sample(0, 1_000_000, 1_800_000_000_000, 1_800_000_000_000), pue=1.5)

    assert summary.emissions_g == pytest.approx(1.5 * 342.0)
    assert "PUE 1.5" in str(summary)


def test_emissions_without_an_intensity_are_unknown_not_zero() -> None:
    summary = told(sample(0, 1_000_000, 1, 1), price=None)

    assert summary.emissions_g is None
    assert "emissions unknown: no grid intensity" in str(summary)


def test_run_without_a_sample_is_unknown_not_zero() -> None:
    summary = told()

    assert (summary.emissions_g, summary.coverage, summary.mean_power_w) == (None, None, None)
    assert "energy    unknown: no sample was taken here" in str(summary)

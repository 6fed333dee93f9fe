"""NVIDIA GPUs, through a library that answers as NVML does and that the tests move."""

import math

import pytest

from kappawatt.errors import SourceBroken, SourceGone
from kappawatt.sensors.nvml import NvmlSource
from kappawatt.sensors.testing import NvmlDouble
from kappawatt.wire.codes import DeviceKind, Method

SECOND = 1_000_000
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, TIMEOUT, LIBRARY_NOT_FOUND, GPU_IS_LOST = 3, 4, 9, 10, 12, 15


@pytest.fixture
def library():
    return NvmlDouble()


def test_device_carries_uuid_model_and_power_limit(library):
    (device,) = NvmlSource(library).devices()

    assert (device.name, device.kind, device.uuid, device.model, device.tdp_w) == (
        "gpu:0",
        DeviceKind.GPU,
        "GPU-0",
        "NVIDIA H200",
        700.0,
    )


def test_counter_gives_energy_and_state(library):
    source = NvmlSource(library)
    assert source.read(0) == []
    library.gpus[0].energy_mj += 350_000

    (reading,) = source.read(SECOND)

    assert (reading.energy_uj, reading.method, reading.flags) == (350_000_000, Method.COUNTER, ())
    assert (reading.utilization, reading.temperature_c, reading.memory_bytes) == (0.87, 61.0, 1 << 33)


def test_state_that_is_not_offered_is_unknown_not_zero(library):
    for call in ("UtilizationRates", "Temperature", "MemoryInfo"):
        library.gpus[0].fails[call] = NOT_SUPPORTED
    source = NvmlSource(library)
    source.read(0)
    library.gpus[0].energy_mj += 1

    (reading,) = source.read(SECOND)

    assert math.isnan(reading.utilization)
    assert math.isnan(reading.temperature_c)
    assert reading.memory_bytes == -1


def test_gpu_without_counter_is_integrated_by_the_trapezoid_over_true_times(library):
    gpu = library.gpus[0]
    gpu.fails["TotalEnergyConsumption"] = NOT_SUPPORTED
    source = NvmlSource(library)
    assert source.read(0) == []
    gpu.power_mw = 400_000

    (reading,) = source.read(1_500_000)

    assert (reading.energy_uj, reading.method) == (525_000_000, Method.POWER)  # 350 W for 1.5 s


def test_counter_that_stands_still_is_demoted_and_loses_nothing(library):
    source = NvmlSource(library)
    source.read(0)

    first, missed = source.read(SECOND), dict(source.missed)
    later = [source.read(second * SECOND)[0] for second in (2, 3)]

    assert (first, missed) == ([], {"gpu:0": "gap"})
    assert [r.method for r in later] == [Method.POWER, Method.POWER]
    assert [r.energy_uj for r in later] == [600_000_000, 300_000_000]


def test_slow_counter_brings_its_energy_with_the_next_step(library):
    source = NvmlSource(library)
    source.read(0)
    source.read(SECOND)
    library.gpus[0].energy_mj += 590_000

    (reading,) = source.read(2 * SECOND)

    assert (reading.energy_uj, reading.method) == (590_000_000, Method.COUNTER)


def test_driver_reload_is_a_reset_not_a_wrap(library):
    source = NvmlSource(library)
    source.read(0)
    library.gpus[0].energy_mj = 12

    assert source.read(SECOND) == []
    assert source.missed == {"gpu:0": "counter_reset"}


def test_timeout_keeps_the_counter_for_the_next_reading(library):
    gpu = library.gpus[0]
    source = NvmlSource(library)
    source.read(0)
    gpu.energy_mj += 100_000
    gpu.fails["TotalEnergyConsumption"] = TIMEOUT
    assert source.read(SECOND) == []
    missed = dict(source.missed)
    del gpu.fails["TotalEnergyConsumption"]
    gpu.energy_mj += 100_000

    (reading,) = source.read(2 * SECOND)

    assert missed == {"gpu:0": "gap"}
    assert (reading.energy_uj, reading.flags) == (200_000_000, ("gap",))


def test_lost_gpu_is_left_out_and_the_others_go_on():
    library = NvmlDouble(count=2)
    source = NvmlSource(library)
    source.read(0)
    library.gpus[0].fails["TotalEnergyConsumption"] = GPU_IS_LOST
    library.gpus[1].energy_mj += 5

    assert [reading.device for reading in source.read(SECOND)] == ["gpu:1"]
    assert [device.name for device in source.devices()] == ["gpu:1"]


def test_last_gpu_lost_ends_the_source(library):
    source = NvmlSource(library)
    source.read(0)
    library.gpus[0].fails["TotalEnergyConsumption"] = GPU_IS_LOST

    with pytest.raises(SourceGone, match="fallen off the bus"):
        source.read(SECOND)


@pytest.mark.parametrize("code", [LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED])
def test_machine_without_driver_has_no_gpus(library, code):
    library.init_fails = code

    with pytest.raises(SourceGone, match=f"code {code}"):
        NvmlSource(library)


def test_machine_whose_driver_shows_no_gpu_has_none():
    with pytest.raises(SourceGone, match="has none"):
        NvmlSource(NvmlDouble(count=0))


def test_missing_permission_is_broken_and_says_the_remedy(library):
    library.init_fails = NO_PERMISSION

    with pytest.raises(SourceBroken, match="run the collector as root"):
        NvmlSource(library)


def test_mig_is_seen(library):
    library.gpus[0].mig = 1

    assert NvmlSource(library).mig("gpu:0")


def test_processes_are_named_by_device(library):
    library.gpus[0].pids = [7, 8]

    assert NvmlSource(library).processes() == {"gpu:0": frozenset({7, 8})}


def test_advancing_counter_is_seen(library):
    source = NvmlSource(library)

    def wait(_: float) -> None:
        library.gpus[0].energy_mj += 1

    assert source.advancing(wait) == {"gpu:0"}
    assert source.advancing(lambda _: None, tries=3) == frozenset()

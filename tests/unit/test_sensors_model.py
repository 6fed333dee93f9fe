"""The models say what their sources say."""

import pytest

from kappawatt.sensors.host import Host
from kappawatt.sensors.model import (
    Constant,
    CpuModel,
    MemoryModel,
    cpu_model,
    cpu_power_w,
    guess_tdp,
    memory_power_w,
    teads_factor,
)
from kappawatt.sensors.source import Device
from kappawatt.wire.codes import DeviceKind, Method

SECOND = 1_000_000


@pytest.mark.parametrize(("utilization", "watts"), [(0.0, 12.0), (0.1, 32.0), (0.5, 75.0), (1.0, 102.0)])
def test_teads_curve_meets_its_four_points(utilization, watts):
    assert cpu_power_w(utilization, 100.0) == pytest.approx(watts)


def test_teads_curve_never_falls():
    factors = [teads_factor(i / 100) for i in range(-10, 120)]

    assert factors == sorted(factors)


def test_memory_is_392_milliwatts_a_gigabyte():
    assert memory_power_w(64_000_000_000) == pytest.approx(25.088)


def test_part_of_a_chip_has_that_part_of_its_tdp():
    assert guess_tdp("Intel(R) Xeon(R) Platinum 8480+", 8).tdp_w == 25.0


def test_name_comes_from_the_kernel(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC 7763\n")

    assert cpu_model(tmp_path / "cpuinfo") == "AMD EPYC 7763"


def test_this_machines_cpu_draws_between_idle_and_full():
    model = CpuModel(Host(), tdp_w=100.0)
    assert model.read(0) == []

    (reading,) = model.read(10 * SECOND)

    assert 120_000_000 <= reading.energy_uj <= 1_020_000_000
    assert reading.method == Method.MODEL


def test_interval_shorter_than_the_kernels_tick_keeps_the_utilization():
    class Still(Host):
        def cpu_times(self):
            return fixed

    fixed = Host().cpu_times()
    model = CpuModel(Still(), tdp_w=100.0)
    model.read(0)

    (reading,) = model.read(1_000)

    assert reading.energy_uj == 12_000


def test_memory_in_use_is_modelled_and_told():
    model = MemoryModel(Host())
    model.read(0)

    (reading,) = model.read(SECOND)

    assert reading.energy_uj > 0
    assert reading.memory_bytes > 0
    assert 0 < reading.utilization < 1


def test_constant_is_power_times_time():
    source = Constant(Device(name="gpu:0", kind=DeviceKind.GPU), 150.0)
    assert source.read(0) == []

    assert source.read(2 * SECOND)[0].energy_uj == 300_000_000

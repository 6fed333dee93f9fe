"""The best source of every device is chosen; what is second best says why and how to mend it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kappawatt.sensors.selection import choose, select
from kappawatt.sensors.testing import NvmlDouble
from kappawatt.wire.codes import DeviceKind, Method

TREES = Path(__file__).parent / "powercap"
NOT_SUPPORTED, LIBRARY_NOT_FOUND, NO_PERMISSION = 3, 12, 4
NO_GPUS = NvmlDouble(init_fails=LIBRARY_NOT_FOUND)


@pytest.fixture
def server(tmp_path):
    return Path(shutil.copytree(TREES / "server", tmp_path / "powercap"))


def moving(root: Path, *zones: str) -> Callable[[float], None]:
    """A wait in which the counters of *zones* go on."""

    def wait(_: float) -> None:
        for zone in zones:
            counter = root / zone / "energy_uj"
            counter.write_text(str(int(counter.read_text()) + 1))

    return wait


ALL = ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:1", "intel-rapl:1:1")


def methods(choices):
    return {choice.device: choice.method for choice in choices}


def test_counters_that_go_on_are_chosen(server):
    found = choose(server, nvml=NO_GPUS, wait=moving(server, *ALL))

    assert methods(found) == {
        "cpu:0": Method.COUNTER,
        "cpu:1": Method.COUNTER,
        "memory:0": Method.COUNTER,
        "memory:1": Method.COUNTER,
        "gpu": Method.UNKNOWN,
    }


def test_counter_that_stands_still_is_modelled_and_said_so(server):
    found = choose(server, nvml=NO_GPUS, wait=moving(server, "intel-rapl:0"))

    cpu = next(choice for choice in found if choice.kind == DeviceKind.CPU)
    assert cpu.method == Method.MODEL
    assert "the counter of cpu:1" in cpu.reason
    assert "stands still" in cpu.reason


def test_memory_counter_that_stands_still_is_modelled_alone(server):
    found = choose(server, nvml=NO_GPUS, wait=moving(server, "intel-rapl:0", "intel-rapl:1"))

    assert methods(found)["cpu:1"] == Method.COUNTER
    assert methods(found)["memory:0"] == Method.MODEL


def test_no_device_is_read_twice(server):
    selection = select(server, nvml=NvmlDouble(2), wait=moving(server, *ALL))

    names = [device.name for device in selection.devices()]
    assert sorted(names) == ["cpu:0", "cpu:1", "gpu:0", "gpu:1", "memory:0", "memory:1"]


def test_machine_without_counters_is_modelled_with_the_tdp_that_was_set(tmp_path):
    found = choose(tmp_path / "nowhere", nvml=NO_GPUS, cpu_tdp_w=65.0)

    assert methods(found) == {"cpu:0": Method.MODEL, "memory:0": Method.MODEL, "gpu": Method.UNKNOWN}
    assert "TDP 65 W" in found[0].reason
    assert "KAPPAWATT_CPU_TDP_W" in found[0].reason


def test_guessed_tdp_says_what_to_set(tmp_path):
    assert "set KAPPAWATT_CPU_TDP_W" in choose(tmp_path / "nowhere", nvml=NO_GPUS)[0].fix


def test_missing_gpu_driver_needs_no_fix_and_a_refused_one_does(tmp_path):
    gone = choose(tmp_path / "nowhere", nvml=NO_GPUS)[-1]
    refused = choose(tmp_path / "nowhere", nvml=NvmlDouble(init_fails=NO_PERMISSION))[-1]

    assert (gone.method, gone.fix) == (Method.UNKNOWN, "")
    assert refused.fix.startswith("run the collector as root")


def test_gpu_counter_that_stands_still_will_be_integrated(tmp_path):
    assert methods(choose(tmp_path, nvml=NvmlDouble(), wait=lambda _: None))["gpu:0"] == Method.POWER


def test_gpu_without_readings_is_half_its_limit(tmp_path):
    nvml = NvmlDouble()
    nvml.gpus[0].fails = {"TotalEnergyConsumption": NOT_SUPPORTED, "PowerUsage": NOT_SUPPORTED}

    found = choose(tmp_path, nvml=nvml, wait=lambda _: None)[-1]

    assert (found.method, found.source) == (Method.CONSTANT, "constant")
    assert "350 W, half its power limit" in found.reason


def test_gpu_of_which_nothing_is_known_is_not_measured_and_never_zero(tmp_path):
    nvml = NvmlDouble()
    nvml.gpus[0].fails = dict.fromkeys(("TotalEnergyConsumption", "PowerUsage", "EnforcedPowerLimit"), NOT_SUPPORTED)

    selection = select(tmp_path, nvml=nvml)

    assert selection.choices[-1].method == Method.UNKNOWN
    assert "gpu:0" not in {device.name for device in selection.devices()}


def test_mig_is_said(tmp_path):
    nvml = NvmlDouble()
    nvml.gpus[0].mig = 1

    assert "MIG is on" in select(tmp_path, nvml=nvml).choices[-1].reason


def test_choices_are_logged_once(tmp_path, caplog):
    caplog.set_level("INFO", "kappawatt")

    selection = select(tmp_path, nvml=NO_GPUS)

    assert [record.message for record in caplog.records] == [str(choice) for choice in selection.choices]

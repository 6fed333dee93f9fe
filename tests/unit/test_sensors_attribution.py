"""Shares add up to the device, to the last microjoule."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.sensors.attribution import Machine, Usage, attribute, gpu_weights, share_out
from kappawatt.sensors.source import Reading
from kappawatt.wire.codes import DeviceKind, Method

MACHINE = Machine(cpu_capacity_us=4_000_000, cpu_busy_us=2_000_000, memory_used_bytes=8_000, memory_total_bytes=32_000)


def reading(kind: DeviceKind, energy_uj: int = 1_000, *, name: str = "x:0", method: Method = Method.COUNTER, memory=-1):
    return Reading(device=name, kind=kind, method=method, energy_uj=energy_uj, memory_bytes=memory)


def test_shares_and_idle_add_up_to_the_device():
    parts = share_out(device_uj=1_000_000_007, shares={"a": 0.3, "b": 0.5})

    assert sum(parts.values()) == 1_000_000_007


@given(
    st.integers(0, 1 << 60),
    st.dictionaries(st.text(min_size=1), st.floats(), max_size=9),
)
def test_any_shares_add_up_and_none_is_negative(device_uj, shares):
    parts = share_out(device_uj, shares)

    assert sum(parts.values()) == device_uj
    assert min(parts.values()) >= 0
    assert set(parts) == {*shares, None}


def test_shares_above_one_are_scaled_down():
    assert share_out(100, {"a": 1.0, "b": 1.0}) == {"a": 50, "b": 50, None: 0}


def test_thirds_leave_nothing_to_nobody():
    assert share_out(10, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})[None] == 0


def test_share_that_is_not_a_number_gets_nothing():
    assert share_out(10, {"a": math.nan}) == {"a": 0, None: 10}


def test_cpu_goes_by_cpu_time_and_the_idle_part_is_nobodys():
    parts = attribute([reading(DeviceKind.CPU)], MACHINE, {"r": Usage(cpu_time_us=1_000_000)})

    assert [part.energy_uj for part in parts["r"]] == [250]
    assert [part.energy_uj for part in parts[None]] == [750]


def test_modelled_memory_goes_by_used_bytes_and_counted_memory_by_installed_bytes():
    usages = {"r": Usage(memory_bytes=4_000)}
    model = reading(DeviceKind.MEMORY, method=Method.MODEL, memory=8_000)
    counter = reading(DeviceKind.MEMORY, memory=8_000)

    assert attribute([model], MACHINE, usages)["r"][0].energy_uj == 500
    assert attribute([counter], MACHINE, usages)["r"][0].energy_uj == 125


def test_memory_in_use_is_split_too():
    parts = attribute(
        [reading(DeviceKind.MEMORY, method=Method.MODEL, memory=8_000)], MACHINE, {"r": Usage(memory_bytes=3_000)}
    )

    assert (parts["r"][0].memory_bytes, parts[None][0].memory_bytes) == (3_000, 5_000)


def test_gpu_of_one_run_is_all_its_own():
    parts = attribute([reading(DeviceKind.GPU, name="gpu:0")], MACHINE, {"r": Usage(gpu_weights={"gpu:0": 0.2})})

    assert {name: part[0].energy_uj for name, part in parts.items()} == {"r": 1_000}


def test_gpu_that_no_run_uses_is_nobodys():
    parts = attribute([reading(DeviceKind.GPU, name="gpu:1")], MACHINE, {"r": Usage(gpu_weights={"gpu:0": 1.0})})

    assert {name: part[0].energy_uj for name, part in parts.items()} == {None: 1_000}


def test_runs_on_one_gpu_share_it_by_weight():
    usages = {"a": Usage(gpu_weights={"gpu:0": 3.0}), "b": Usage(gpu_weights={"gpu:0": 1.0})}

    parts = attribute([reading(DeviceKind.GPU, name="gpu:0")], MACHINE, usages)

    assert {name: part[0].energy_uj for name, part in parts.items()} == {"a": 750, "b": 250}


_KINDS = st.sampled_from([DeviceKind.CPU, DeviceKind.GPU, DeviceKind.MEMORY, DeviceKind.OTHER])
_USAGE = st.builds(
    Usage,
    cpu_time_us=st.integers(-5, 9_000_000),
    memory_bytes=st.integers(0, 99_000),
    gpu_weights=st.dictionaries(st.just("gpu:0"), st.floats(0, 1), max_size=1),
)


@given(_KINDS, st.integers(0, 1 << 50), st.dictionaries(st.sampled_from("abc"), _USAGE))
def test_parts_of_any_device_add_up_to_its_reading(kind, energy_uj, usages):
    parts = attribute([reading(kind, energy_uj, name="gpu:0")], MACHINE, usages)

    assert sum(part.energy_uj for each in parts.values() for part in each) == energy_uj


def test_run_weighs_as_many_as_it_has_of_the_processes_on_the_gpu():
    users = {"gpu:0": frozenset({1, 2, 3}), "gpu:1": frozenset({9})}

    found = gpu_weights(users, {"a": frozenset({1, 2}), "b": frozenset({3})}, blind=False)

    assert found == {"a": {"gpu:0": 2.0}, "b": {"gpu:0": 1.0}}


@pytest.mark.parametrize("users", [frozenset(), frozenset({70_001})], ids=["driver names none", "driver names others"])
def test_lone_run_in_a_container_has_the_gpus_that_the_container_was_given(users):
    assert gpu_weights({"gpu:0": users}, {"a": frozenset({1})}, blind=True) == {"a": {"gpu:0": 1.0}}


def test_two_runs_in_a_container_are_not_guessed():
    trees = {"a": frozenset({1}), "b": frozenset({2})}

    assert gpu_weights({"gpu:0": frozenset({70_001})}, trees, blind=True) == {"a": {}, "b": {}}

"""Samples of one host: who used what, adding up to what was measured."""

import itertools
import os
import subprocess
import sys
import time

import pytest

from kappawatt.sensors.host import Host
from kappawatt.sensors.meter import Meter
from kappawatt.sensors.nvml import NvmlSource
from kappawatt.sensors.sampler import Sampler
from kappawatt.sensors.selection import Selection
from kappawatt.sensors.testing import ManualClock, NvmlDouble, ScriptedSource
from kappawatt.wire import codec

SECOND = 1_000_000
BURN = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass\ninput()"


class Scripted(Selection):
    """A selection whose meter runs on a clock moved by hand."""

    def meter(self, *, period_us: int = SECOND) -> Meter:
        return Meter(self.sources, clock.wall_us, clock.monotonic_us, period_us=period_us)


clock = ManualClock(wall_us=time.time_ns() // 1_000)  # processes of these tests began before or after it


def sampler(*script, whole=None, nvml=None):
    sources = [ScriptedSource(*script)] if script else []
    selection = Scripted(sources=[*sources, *([nvml] if nvml else [])], nvml=nvml)
    return Sampler(selection, Host(), host_name="h7", zone="DEU", collector_id="c1", whole=whole)


def test_first_call_is_the_baseline():
    assert sampler({}).sample({}) == []


def test_host_without_runs_is_nobodys():
    s = sampler({}, {"cpu:0": 50, "gpu:0": 70})
    s.sample({})
    clock.go(SECOND)

    (sample,) = s.sample({})

    assert (sample.run_id, sample.device, sample.energy_uj) == (None, ("cpu:0", "gpu:0"), (50, 70))
    assert (sample.host, sample.zone, sample.collector_id, sample.seq) == ("h7", "DEU", "c1", 0)
    assert sample.end - sample.start == SECOND
    assert sample.network_rx_bytes >= 0
    assert sample.cpu_time_us == -1


def test_run_gets_its_part_and_the_rest_is_nobodys():
    child = subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE)
    try:
        host = Host()
        s = sampler({}, {"cpu:0": 1_000_000_007})
        tree = host.tree(child.pid)
        s.sample({"r": tree})
        before = host.cpu_times().capacity_us
        while tree.read(0).cpu_time_us < 200_000:
            assert host.cpu_times().capacity_us - before < 120 * SECOND, "the child does not burn"
        clock.go(SECOND)

        mine, rest = s.sample({"r": tree})

        assert (mine.run_id, rest.run_id) == ("r", None)
        assert mine.energy_uj[0] > 0
        assert mine.energy_uj[0] + rest.energy_uj[0] == 1_000_000_007
        assert mine.cpu_time_us > 0
        assert mine.network_rx_bytes == -1
    finally:
        child.communicate(b"\n")


def test_what_a_process_used_before_its_run_does_not_count():
    s = sampler({}, {"cpu:0": 100})
    s.sample({})
    clock.go(SECOND)

    samples = s.sample({"r": Host().tree(os.getpid())})

    assert [sample.run_id for sample in samples] == [None]


def test_whole_host_is_one_runs():
    s = sampler({}, {"cpu:0": 100}, whole="r")
    s.sample({})
    clock.go(SECOND)

    (sample,) = s.sample({"r": Host().tree(os.getpid())})

    assert (sample.run_id, sample.energy_uj) == ("r", (100,))
    assert sample.network_rx_bytes >= 0


def test_numbers_have_no_holes_over_runs_and_ticks():
    s = sampler({}, {"cpu:0": 5}, {"cpu:0": "gap"}, {"cpu:0": 7})
    found = []
    for _ in range(4):
        found += s.sample({})
        clock.go(SECOND)

    assert [sample.seq for sample in found] == [0, 1]
    assert [b.start - a.end for a, b in itertools.pairwise(found)] == [0]


def test_long_interval_is_cut_below_the_limit_of_the_ledger():
    s = sampler({}, {"cpu:0": 1_000_000_007})
    s.sample({})
    clock.go(7_000 * SECOND)

    found = s.sample({})

    assert [sample.end - sample.start < 3_000 * SECOND for sample in found] == [True] * 3
    assert sum(sample.energy_uj[0] for sample in found) == 1_000_000_007
    assert [sample.seq for sample in found] == [0, 1, 2]


def test_gpu_belongs_to_the_run_whose_process_is_on_it():
    library = NvmlDouble(2)
    library.gpus[0].pids = [os.getpid()]
    s = sampler(nvml=NvmlSource(library))
    trees = {"r": Host().tree(os.getpid())}
    s.sample(trees)
    clock.go(SECOND)
    for gpu in library.gpus:
        gpu.energy_mj += 300_000

    samples = {sample.run_id: sample for sample in s.sample(trees)}

    assert (samples["r"].device, samples["r"].energy_uj) == (("gpu:0",), (300_000_000,))
    assert (samples[None].device, samples[None].energy_uj) == (("gpu:1",), (300_000_000,))


def test_hardware_tells_uuid_and_power_limit():
    (gpu,) = sampler(nvml=NvmlSource(NvmlDouble())).hardware()

    assert (gpu.device, gpu.kind, gpu.uuid, gpu.tdp_w) == ("gpu:0", 2, "GPU-0", 700.0)


def test_samples_fit_the_schema():
    s = sampler({}, {"cpu:0": 5})
    s.sample({})
    clock.go(SECOND)
    (sample,) = s.sample({})

    decoded = codec.decode_one(codec.schema("sample"), codec.encode("sample", sample.to_avro()))

    assert (decoded["energy_uj"], decoded["start"], decoded["seq"]) == ([5], sample.start, 0)


@pytest.mark.parametrize("final", [True, False])
def test_only_a_final_sample_leaves_a_device_out(final):
    s = sampler({}, {"cpu:0": "gap", "gpu:0": 4})
    s.sample({})
    clock.go(SECOND)

    assert len(s.sample({}, final=final)) == final

"""RAPL from recorded powercap trees, good and bad."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from kappawatt.errors import SourceBroken, SourceGone
from kappawatt.sensors.rapl import RaplSource
from kappawatt.wire.codes import DeviceKind, Method

TREES = Path(__file__).parent / "powercap"
SECOND = 1_000_000


class Tree:
    """A copy of a recorded tree whose counters can be moved."""

    def __init__(self, name: str, folder: Path) -> None:
        self.root = Path(shutil.copytree(TREES / name, folder / "powercap"))
        self.boot_id = folder / "boot_id"
        self.boot_id.write_text("first\n")

    def source(self) -> RaplSource:
        return RaplSource(self.root, boot_id=self.boot_id)

    def counter(self, zone: str) -> Path:
        return self.root / zone / "energy_uj"

    def put(self, zone: str, uj: int) -> None:
        self.counter(zone).write_text(f"{uj}\n")

    def add(self, zone: str, uj: int) -> None:
        self.put(zone, int(self.counter(zone).read_text()) + uj)


@pytest.fixture
def server(tmp_path):
    return Tree("server", tmp_path)


@pytest.fixture
def laptop(tmp_path):
    return Tree("laptop", tmp_path)


def test_only_packages_and_their_memory_count_each_once(server):
    devices = server.source().devices()

    assert [(d.name, d.kind, d.tdp_w) for d in devices] == [
        ("cpu:0", DeviceKind.CPU, 150.0),
        ("cpu:1", DeviceKind.CPU, 150.0),
        ("memory:0", DeviceKind.MEMORY, None),
        ("memory:1", DeviceKind.MEMORY, None),
    ]


def test_package_of_two_ways_is_read_by_msr(server):
    paths = [zone.path.name for zone in server.source().zones()]

    assert paths == ["intel-rapl:0", "intel-rapl:1", "intel-rapl:0:1", "intel-rapl:1:1"]


def test_mirrored_dies_of_one_socket_are_one_package(tmp_path):
    tree = Tree("dies", tmp_path)

    assert [zone.path.name for zone in tree.source().zones()] == ["intel-rapl:0", "intel-rapl:2"]


def test_first_read_is_the_baseline(server):
    source = server.source()

    assert source.read(0) == []
    assert source.missed == {}


def test_energy_is_the_difference_of_the_counter(server):
    source = server.source()
    source.read(0)
    server.add("intel-rapl:0", 55_000_000)
    server.add("intel-rapl:1:1", 3_000_000)

    readings = {r.device: r for r in source.read(SECOND)}

    assert {name: r.energy_uj for name, r in readings.items()} == {
        "cpu:0": 55_000_000,
        "cpu:1": 0,
        "memory:0": 0,
        "memory:1": 3_000_000,
    }
    assert readings["cpu:0"].method == Method.COUNTER


def test_wrap_counts_through_zero(server):
    source = server.source()
    server.put("intel-rapl:0", 262_143_328_850 - 10_000_000)
    source.read(0)
    server.put("intel-rapl:0", 20_000_000)

    assert source.read(SECOND)[0].energy_uj == 30_000_001


def test_reset_is_a_gap_and_no_phantom_energy(server):
    # codecarbon 3.3.2 books 162,146 J for this step
    source = server.source()
    source.read(0)
    server.put("intel-rapl:0", 5_000_000)

    readings = source.read(15 * SECOND)

    assert "cpu:0" not in {r.device for r in readings}
    assert source.missed["cpu:0"] == "counter_reset"


def test_counting_goes_on_after_a_reset(server):
    source = server.source()
    source.read(0)
    server.put("intel-rapl:0", 5_000_000)
    source.read(SECOND)
    server.add("intel-rapl:0", 7_000_000)

    assert source.read(2 * SECOND)[0].energy_uj == 7_000_000


def test_wrap_across_a_boot_is_a_reset(server):
    source = server.source()
    server.put("intel-rapl:0", 262_143_328_850 - 10_000_000)
    source.read(0)
    server.put("intel-rapl:0", 20_000_000)
    server.boot_id.write_text("second\n")

    source.read(SECOND)

    assert source.missed == {"cpu:0": "counter_reset"}


def test_failed_read_keeps_the_counter_and_the_next_has_all_the_energy(server):
    source = server.source()
    source.read(0)
    server.add("intel-rapl:0", 10_000_000)
    before = server.counter("intel-rapl:0").read_text()
    server.counter("intel-rapl:0").write_text("")
    source.read(SECOND)
    missed = dict(source.missed)
    server.counter("intel-rapl:0").write_text(before)
    server.add("intel-rapl:0", 10_000_000)

    reading = source.read(2 * SECOND)[0]

    assert missed == {"cpu:0": "gap"}
    assert (reading.energy_uj, reading.flags) == (20_000_000, ("gap",))


def test_counter_that_stands_still_is_missing_not_zero(laptop):
    source = laptop.source()
    source.read(0)
    source.read(4 * SECOND)

    assert source.read(5 * SECOND) == []
    assert source.missed == {"cpu:0": "gap"}


def test_counter_that_goes_on_again_brings_the_energy(laptop):
    source = laptop.source()
    source.read(0)
    source.read(5 * SECOND)
    laptop.add("intel-rapl:0", 60_000_000)

    assert source.read(6 * SECOND)[0].energy_uj == 60_000_000


def test_more_than_the_package_can_draw_is_flagged_and_not_clipped(server):
    source = server.source()
    source.read(0)
    server.add("intel-rapl:0", 226_000_000)

    reading = source.read(SECOND)[0]

    assert (reading.energy_uj, reading.flags) == (226_000_000, ("implausible",))


def test_advancing_names_the_counters_that_go_on(server):
    source = server.source()

    going = source.advancing(lambda _: server.add("intel-rapl:1", 5), tries=3)

    assert going == {"cpu:1"}


def test_missing_tree_is_gone(tmp_path):
    with pytest.raises(SourceGone, match="this kernel has no powercap"):
        RaplSource(tmp_path / "nowhere")


def test_tree_without_packages_is_gone(tmp_path):
    with pytest.raises(SourceGone, match="has none: a virtual machine"):
        Tree("control_only", tmp_path).source()


def test_counter_without_a_number_is_broken_at_the_start(tmp_path):
    with pytest.raises(SourceBroken, match="gave no number"):
        Tree("no_number", tmp_path).source()


@contextmanager
def as_nobody():
    """Root may read everything: be somebody else for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_counter_that_only_root_may_read_is_broken_and_the_message_mends_it():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        tree = Tree("laptop", Path(folder))
        os.chmod(folder, 0o755)
        tree.counter("intel-rapl:0").chmod(0o000)

        with as_nobody(), pytest.raises(SourceBroken) as caught:
            tree.source()

    assert "sudo chmod o+r" in str(caught.value)
    assert "kappawatt collect host" in str(caught.value)

"""The simulated fleet: labelled, repeatable, and by the rules of the log."""

import json
import math

import pytest

from collectors import simulate
from collectors.simulate import SimulateSettings, generate, pace
from kappawatt.errors import SettingsError
from kappawatt.log.files import FileLog
from kappawatt.sensors.testing import ManualClock
from kappawatt.wire import codec

START = 1_767_225_600_000_000
FLEET = SimulateSettings(start_us=START, duration_s=900, hosts=3, runs=2, gpus=2)


@pytest.fixture(scope="module")
def records():
    return list(generate(FLEET))


def of(records, topic):
    return [record for name, record in records if name == topic]


def test_same_settings_give_the_same_bytes(records):
    again = [(topic, codec.encode(topic, record)) for topic, record in generate(FLEET)]

    assert again == [(topic, codec.encode(topic, record)) for topic, record in records]


def test_other_seed_gives_other_records(records):
    other = SimulateSettings(start_us=START, duration_s=900, hosts=3, runs=2, gpus=2, seed=8)

    assert next(generate(other)) != records[0]


def test_everything_is_labelled_simulated(records):
    assert {method for sample in of(records, "sample") for method in sample["method"]} == {6}
    starts = [event for event in of(records, "run_event") if event["type"] == "start"]
    assert {event["labels"]["simulated"] for event in starts} == {"true"}


def test_records_come_in_the_order_of_time(records):
    times = [record["end"] if topic == "sample" else record["at"] for topic, record in records]

    assert times == sorted(times)


def test_no_two_samples_share_an_identity_and_none_is_missing(records):
    seqs: dict[str, list[int]] = {}
    for sample in of(records, "sample"):
        seqs.setdefault(sample["collector_id"], []).append(sample["seq"])

    assert all(found == list(range(len(found))) for found in seqs.values())
    assert len(seqs) == FLEET.hosts


def test_intervals_of_a_device_follow_each_other(records):
    ends: dict[tuple[str, str], int] = {}
    for sample in of(records, "sample"):
        if sample["run_id"] is not None:
            continue
        key = (sample["host"], "cpu:0")
        assert ends.get(key, sample["start"]) == sample["start"]
        ends[key] = sample["end"]


def test_parallel_arrays_are_equally_long(records):
    arrays = ("kind", "method", "energy_uj", "device", "utilization", "temperature_c", "memory_bytes")

    assert all(len({len(sample[name]) for name in arrays}) == 1 for sample in of(records, "sample"))


def test_power_is_that_of_machines(records):
    for sample in of(records, "sample"):
        seconds = (sample["end"] - sample["start"]) / 1e6
        assert all(0 <= energy_uj / 1e6 / seconds <= 800 for energy_uj in sample["energy_uj"])


def test_phases_of_a_run_follow_each_other(records):
    run_id = next(event["run_id"] for event in of(records, "run_event") if event["type"] == "start")
    marks = [
        (event["type"], event["phase"], event["at"])
        for event in of(records, "run_event")
        if event["run_id"] == run_id and event["type"].startswith("phase")
    ]

    begun, ended = marks[::2], marks[1::2]
    assert [phase for _, phase, _ in begun[:5]] == ["data", "train", "validate", "checkpoint", "train"]
    assert [at for *_, at in begun[1:]] == [at for *_, at in ended][: len(begun) - 1]


def test_loss_falls_from_epoch_to_epoch():
    long = SimulateSettings(start_us=START, duration_s=7_200, hosts=1, runs=1, gpus=1, period_s=60)
    epochs: dict[str, list[float]] = {}
    for topic, event in generate(long):
        if topic == "run_event" and event["type"] == "epoch":
            epochs.setdefault(event["run_id"], []).append(event["metrics"]["loss"])

    losses = max(epochs.values(), key=len)
    assert losses[0] > losses[len(losses) // 2] > losses[-1]


def test_training_draws_more_than_validation_and_checkpoints(records):
    by_phase: dict[str, list[int]] = {}
    phases = {}
    for topic, record in records:
        if topic == "run_event" and record["type"] == "phase_start":
            phases[record["run_id"]] = record["phase"]
        if topic == "sample" and record["run_id"] in phases:
            by_phase.setdefault(phases[record["run_id"]], []).append(record["energy_uj"][0])

    mean = {phase: sum(energies) / len(energies) for phase, energies in by_phase.items()}
    assert mean["train"] > mean["validate"] > mean["checkpoint"] > 0


def test_more_runs_than_hosts_are_refused():
    with pytest.raises(SettingsError, match="5 runs on 3 hosts"):
        SimulateSettings(start_us=START, hosts=3, runs=5)


def test_pace_waits_until_the_time_of_each_record():
    clock = ManualClock(wall_us=START)
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.go(round(seconds * 1e6))

    records = [("run_event", {"at": START}), ("sample", {"end": START + 2_000_000})]

    assert list(pace(iter(records), clock.wall_us, wait)) == records
    assert waits == [2.0]


def test_endless_fleet_goes_on_with_other_runs():
    fleet = SimulateSettings(start_us=START, duration_s=math.inf, hosts=1, runs=1, gpus=1, period_s=300)
    run_ids = set()
    for topic, record in generate(fleet):
        if topic == "run_event":
            run_ids.add(record["run_id"])
        if len(run_ids) == 3:
            break

    assert len(run_ids) == 3


def test_program_writes_a_file_log(tmp_path, capsys):
    start = ["--start", "2026-01-01T00:00:00Z", "--duration", "2m", "--hosts", "2", "--runs", "1", "--gpus", "1"]

    assert simulate.main(["--log", f"file:{tmp_path}", *start]) == 0

    assert FileLog(tmp_path).topics() == ["sample", "run_event"]
    assert "simulated records written to file:" in capsys.readouterr().err


def test_program_prints_json_lines(capsys):
    start = ["--start", "2026-01-01T00:00:00Z", "--duration", "30s", "--hosts", "1", "--runs", "1", "--gpus", "1"]

    assert simulate.main(["--print", *start]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["topic"] for line in lines} == {"sample", "run_event"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--duration", "soon"], "--duration soon is not a time"), (["--start", "now"], "--start now is not a time")],
)
def test_wrong_times_are_refused(flags, message):
    with pytest.raises(SettingsError, match=message):
        simulate.main(["--print", *flags])

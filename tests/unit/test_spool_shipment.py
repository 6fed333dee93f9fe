"""What is acknowledged moves over arrived records only, without a hole, and nothing is skipped in silence."""

from pathlib import Path

import pytest

from kappawatt.log.failures import Failure, Trouble
from kappawatt.log.files import FileLog
from kappawatt.log.shipment import Record, Shipment, key_of
from kappawatt.log.spool import Spool
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter, Intensity, RunEvent, Sample


def event(number: int, note: str = "") -> RunEvent:
    return RunEvent(event_id=f"e{number}", run_id="run-1", type="heartbeat", at=number, labels={"note": note})


def filled(directory: Path, count: int) -> Path:
    with Spool(directory, host="h7") as spool:
        spool.append(*[event(number) for number in range(count)])
    return directory / "run_event" / "h7.0-000000.avro"


def shipment(directory: Path, acknowledged: tuple[str, int] | None = None) -> Shipment:
    return Shipment(directory, "run_event", "h7.0", acknowledged)


def numbers(records: list[Record]) -> list[str]:
    return [codec.decode_one(codec.schema(each.topic), each.datum).get("event_id", "letter") for each in records]


def starts(directory: Path) -> list[int]:
    return [int(at) for at in FileLog(directory).partition("run_event", "h7.0").read(None).position]


def test_what_is_acknowledged_stops_at_the_first_hole(tmp_path: Path) -> None:
    path = filled(tmp_path, 5)
    ships = shipment(tmp_path)
    records = list(ships.take())

    for i in (0, 1, 3):
        records[i].done(None)
    assert ships.advance()

    assert ships.acknowledged == (path.name, starts(tmp_path)[2])
    records[2].done(None)
    ships.advance()
    assert ships.acknowledged == (path.name, starts(tmp_path)[4])


def test_a_restart_repeats_the_unacknowledged_tail_only(tmp_path: Path) -> None:
    filled(tmp_path, 5)
    ships = shipment(tmp_path)
    for record in list(ships.take())[:3]:
        record.done(None)
    ships.advance()

    assert numbers(list(shipment(tmp_path, ships.acknowledged).take())) == ["e3", "e4"]


def test_a_failure_goes_back_to_what_is_acknowledged(tmp_path: Path) -> None:
    filled(tmp_path, 4)
    ships = shipment(tmp_path)
    records = list(ships.take())
    records[0].done(None)
    records[1].done(Failure(Trouble.FATAL, "fenced"))
    ships.advance()
    failure = ships.failure

    ships.rewind()
    records[2].done(None)  # comes too late: it is sent again

    assert failure == Failure(Trouble.FATAL, "fenced")
    assert numbers(list(ships.take())) == ["e1", "e2", "e3"]


def test_a_record_that_kafka_never_takes_becomes_a_dead_letter_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = filled(tmp_path, 3)
    ships = shipment(tmp_path)
    records = list(ships.take())
    for record, failure in zip(records, [None, Failure(Trouble.TOO_LARGE, "1 MB"), None], strict=True):
        record.done(failure)
    ships.advance()
    held_at = ships.acknowledged
    (letter,) = ships.take()
    letter.done(None)
    ships.advance()

    found = DeadLetter.from_avro(codec.decode_one(codec.schema("dead_letter"), letter.datum))
    assert (letter.topic, found.reason, found.payload) == ("dead_letter", "too_large", records[1].datum)
    assert held_at == (path.name, starts(tmp_path)[1])
    assert ships.acknowledged == (path.name, path.stat().st_size)
    assert ships.shipped == 3


def test_a_damaged_stretch_becomes_a_dead_letter_in_its_place(tmp_path: Path) -> None:
    path = filled(tmp_path, 4)
    data = bytearray(path.read_bytes())
    data[starts(tmp_path)[1]] = 0x7F
    path.write_bytes(data)

    records = list(shipment(tmp_path).take())

    assert numbers(records) == ["e0", "letter", "e2", "e3"]


def test_a_file_that_cannot_be_read_becomes_one_dead_letter(tmp_path: Path) -> None:
    path = filled(tmp_path, 1)
    path.write_bytes(b"rubbish")
    ships = shipment(tmp_path)

    (letter,) = ships.take()
    letter.done(None)
    ships.advance()

    assert letter.topic == "dead_letter"
    assert ships.acknowledged == (path.name, len(b"rubbish"))
    assert list(ships.take()) == []


def test_a_record_given_back_comes_first_again(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    ships = shipment(tmp_path)
    taken = ships.take()
    next(taken)
    ships.give_back(next(taken))

    assert numbers(list(ships.take())) == ["e1", "e2"]


def test_records_appear_while_the_spool_is_written_over_several_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path, host="h7", max_bytes=40_000)
    ships = shipment(tmp_path)
    found: list[str] = []
    for number in range(200):
        spool.append(event(number))
        records = list(ships.take())
        found += numbers(records)
        for record in records:
            record.done(None)
        ships.advance()
    spool.close()

    assert found == [f"e{number}" for number in range(200)]
    assert len(list((tmp_path / "run_event").glob("*.avro"))) > 1


def test_an_empty_file_and_a_bare_header_are_passed(tmp_path: Path) -> None:
    path = filled(tmp_path, 1)
    header = starts(tmp_path)[0]
    (path.parent / "h7.0-000001.avro").touch()
    (path.parent / "h7.0-000002.avro").write_bytes(path.read_bytes()[:header])
    ships = shipment(tmp_path)
    (record,) = ships.take()
    record.done(None)
    ships.advance()
    ships.has_more()
    ships.advance()

    assert ships.acknowledged == ("h7.0-000002.avro", header)


SAMPLE = Sample(
    collector_id="collector",
    seq=300,
    host="h-7 Ω",
    zone="DEU",
    start=0,
    end=1,
    kind=(1,),
    method=(1,),
    energy_uj=(1,),
    device=("cpu:0",),
    utilization=(0.5,),
    temperature_c=(1.0,),
    memory_bytes=(1,),
)
PRICE = Intensity(
    zone="DE-LU",
    valid_from=0,
    valid_to=300_000_000,
    intensity_g_per_kwh=1.0,
    kind="actual",
    signal="average",
    provider="p",
    dataset="d",
    revision=0,
    published_at=0,
)


@pytest.mark.parametrize(
    ("topic", "record", "field"),
    [("sample", SAMPLE, "host"), ("intensity", PRICE, "zone"), ("run_event", event(1), "run_id")],
)
def test_the_key_is_the_field_that_the_design_names(
    topic: str, record: Sample | Intensity | RunEvent, field: str
) -> None:
    assert key_of(topic, codec.encode(topic, record.to_avro())) == getattr(record, field).encode()


def test_a_damaged_record_has_no_key() -> None:
    assert key_of("sample", b"\xff\xff") is None

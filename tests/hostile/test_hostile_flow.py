"""A whole flow over a log full of hostile files: it ends, in bounded memory; what is good is counted as if alone."""

import json
import math
import os
import resource
from collections import Counter
from pathlib import Path

from kappawatt.stores import open_store
from kappawatt.wire import codec
from tests.flows.flows import Flow
from tests.flows.ledger_compare import differences
from tests.hostile import corpus
from tests.hostile.cage import read_log
from tests.oracle.generate import small
from tests.oracle.records import MIDNIGHT, event, price
from tests.oracle.truth import expected_tables
from tests.oracle.write_log import SYNC, block, encode, header, schema_of, write_files

MOST_BYTES = 4 << 30
LABELS = {f"label {number} {'x' * 40}": "ü" * 8 for number in range(2_000)}
NASTY_NAMES = {"name": "</script><img onerror=x>\u202e\x1b[31m\0", "user": "=cmd|' /C calc'!A0", "model": "../../etc"}


def hostile_events() -> tuple[list[dict], list[bytes]]:
    """Run events that are strange and right, and bytes that are neither."""
    many = [{"device": f"gpu:{n}", "kind": n, "model": None, "uuid": None, "tdp_w": None} for n in range(1_000)]
    right = [
        event(run_id="nasty", event_id="e1", type="start", labels=LABELS | {"name": NASTY_NAMES["name"]}),
        event(run_id="nasty", event_id="e2", at=MIDNIGHT + 1, user=NASTY_NAMES["user"], model=NASTY_NAMES["model"]),
        event(run_id="nasty", event_id="e3", at=MIDNIGHT + 2, type="epoch", metrics={"x": math.nan, "\0": math.inf}),
        event(run_id="nasty", event_id="e4", at=MIDNIGHT + 3, hardware=many),
        event(run_id="🔥" * 100, event_id="e5"),
    ]
    schema = schema_of("run_event")
    whole = encode(schema, event(run_id="gone", user="ada"))
    wrong = [
        encode(schema, event(run_id="gone", labels={str(number): "x" * 100 for number in range(5_000)})),
        encode(schema, event(run_id="gone", user="u" * (2 << 20))),
        whole.replace(b"ada", b"\xed\xa0\x80"),
        whole + b"\0",
        whole[:-4],
    ]
    return right, wrong


def write_hostile(folder: Path) -> dict[str, int]:
    """Hostile files as partitions of their own; how many records, good or not, the reader finds in each."""
    counts = {}
    for number, (make, _, _) in enumerate(corpus.FILES.values()):
        (folder / f"evil{number}/sample").mkdir(parents=True)
        (folder / f"evil{number}/sample/h-000000.avro").write_bytes(make())
        (folder / f"evil{number}/sample/h-000001.avro").write_bytes(corpus.HEAD)
        found = read_log(str(folder / f"evil{number}"), "sample")
        counts[f"sample/evil{number}"] = found["records"] + len(found["bad"])
        for part in (0, 1):
            old = folder / f"evil{number}/sample/h-00000{part}.avro"
            old.rename(folder / f"sample/evil{number}-00000{part}.avro")
    return counts


def letters(folder: Path) -> list[dict]:
    found = []
    for path in sorted(folder.glob("dead_letter/flow.*.avro")):
        data = path.read_bytes()
        head = codec.read_header(data)
        assert head is not None
        for piece in data[head.size :].split(head.sync)[:-1]:
            at = next(at for at in range(1, 9) if piece[at] < 0x80) + 1
            found.append(codec.decode_one(codec.schema("dead_letter"), piece[at:]))
    return found


def test_flow_over_hostile_files_counts_all_that_is_good(tmp_path: Path) -> None:
    log = small(31)
    right, wrong = hostile_events()
    log.run_events = [*log.run_events, *right]
    prices = [price(zone="XX-" + "z" * 400), price(zone="HUGE", provider="p\0\u202e", dataset="d" * 100_000)]
    log.intensity = [*log.intensity, *prices]
    folder = tmp_path / "log"
    write_files(log, folder)
    schema = schema_of("run_event")
    (folder / "run_event/evil-000000.avro").write_bytes(
        header(schema) + b"".join(map(block, wrong)) + b"\x80" * 40 + SYNC
    )
    (folder / "intensity/evil-000000.avro").write_bytes(corpus.compressed(b"deflate", corpus.deflate_bomb(64)))
    (folder / "dead_letter").mkdir()
    (folder / "dead_letter/evil-000000.avro").write_bytes(corpus.embedded(corpus.nested(5_000)))
    sent = write_hostile(folder)
    flow = Flow(log=f"file:{folder}", store=f"sqlite:{tmp_path / 'ledger.sqlite'}", state=tmp_path / "state")
    before = resource.getrlimit(resource.RLIMIT_AS)

    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, before[1]))
    try:
        running = flow.start()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)

    assert running.returncode == 0
    assert usage.ru_maxrss < 900 * 1024
    store = open_store(flow.store, read_only=True)
    wrong_rows = [each for each in differences(store, expected_tables(log), limit=10_000) if "evil" not in each]
    assert wrong_rows == []
    rows = {row["source_partition"]: row for row in store.scan("accounting")}
    assert {name: rows[name]["sent"] for name in sent if sent[name]} == {
        name: count for name, count in sent.items() if count
    }
    for row in rows.values():
        assert row["sent"] == row["counted"] + row["duplicate"] + row["rejected"] + row["dead"]
    listed = letters(folder)
    by_source = Counter(each["source"] for each in listed)
    assert by_source["run_event/evil"] == 6
    assert by_source["intensity/evil"] == 1
    assert {name: by_source[name] for name in sent} == {
        name: rows[name]["dead"] + rows[name]["rejected"] if name in rows else 0 for name in sent
    }
    reasons = Counter(each["reason"] for each in listed if each["source"] == "run_event/evil")
    assert reasons == {"too_large": 2, "undecodable": 3, "trailing_bytes": 1}
    assert max(len(each["payload"]) for each in listed) == 900_000
    assert json.loads(next(row for row in store.scan("run") if row["run_id"] == "nasty")["labels"]) == LABELS | {
        "name": NASTY_NAMES["name"]
    }
    store.close()

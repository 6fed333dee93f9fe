"""`dead ls` and `dead show` over a file log: each letter once, newest first, with words for every reason."""

import json
import os
import re
from pathlib import Path

import pytest

from kappawatt import cli
from kappawatt.ledger import verdicts
from kappawatt.log.files import FileWriter
from kappawatt.reasons import REASONS, explain
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter
from tests.hostile import corpus
from tests.oracle.records import sample

DAY_US = 86_400_000_000
NEWEST_US = 1_790_000_000_000_000
ROOT = Path(__file__).resolve().parents[2]
REJECTED = codec.encode("sample", sample(run_id="~x\x1b[31m"))


def letter(number: int, reason: str = "undecodable", verdict: str = "dead", **more: object) -> DeadLetter:
    fields = {"source": "sample/h", "position": f"h-000000.avro:{number}", "schema_id": None, "payload": b"\0\1" * 20}
    return DeadLetter(verdict=verdict, reason=reason, **(fields | more))


def write(folder: Path, partition: str, letters: list[DeadLetter], mtime_us: int = NEWEST_US) -> None:
    writer = FileWriter(folder, "dead_letter", partition)
    writer.append([codec.encode("dead_letter", each.to_avro()) for each in letters])
    path = folder / "dead_letter" / (writer.file or "")
    writer.close()
    os.utime(path, ns=(mtime_us * 1000, mtime_us * 1000))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five letters of two starts of the flow; the second start listed two of them again."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KAPPAWATT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "log"
    monkeypatch.setenv("KAPPAWATT_LOG", f"file:{folder}")
    older = [letter(1), letter(2), letter(3, "reserved_run_id", "rejected", payload=REJECTED)]
    write(folder, "flow.1", older, NEWEST_US - DAY_US)
    write(folder, "flow.2", [*older[1:], letter(4, "too_large"), letter(5, source="run_event/all")])
    return folder


def listed(capsys: pytest.CaptureFixture[str], *flags: str) -> dict:
    assert cli.main(["dead", "ls", "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_letter_is_listed_once_newest_first(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)

    assert [each["position"].partition(":")[2] for each in found["letters"]] == ["5", "4", "3", "2", "1"]
    assert found["by_reason"] == {"undecodable": 3, "reserved_run_id": 1, "too_large": 1}
    assert (found["total"], found["repeats"], found["unreadable"]) == (5, 2, 0)


@pytest.mark.parametrize(
    ("flags", "numbers"),
    [
        (["--topic", "run_event"], "5"),
        (["--reason", "undecodable", "--topic", "sample"], "21"),
        (["--verdict", "rejected"], "3"),
        (["--limit", "2"], "54"),
        (["--since", "2026-09-21T00:00Z"], "5432"),
        (["--since", "2026-09-22T00:00Z"], ""),
    ],
    ids=" ".join,
)
def test_letters_can_be_chosen(log: Path, capsys: pytest.CaptureFixture[str], flags: list[str], numbers: str) -> None:
    found = listed(capsys, *flags)

    assert "".join(each["position"][-1] for each in found["letters"]) == numbers


def test_limit_leaves_the_counts_whole(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dead", "ls", "--limit", "1"]) == 0

    out = capsys.readouterr().out
    assert "undecodable            3  its bytes are no record of its schema" in out
    assert out.splitlines()[-1].startswith("5 in all, the newest 1 are listed; `kappawatt dead show")


def test_empty_log_has_no_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dead", "ls", "--log", f"file:{tmp_path}"]) == 0
    assert cli.main(["dead", "ls", "--log", f"file:{tmp_path}", "--reason", "expired"]) == 0

    said = f"kappawatt: no dead letter in file:{tmp_path}\nkappawatt: no dead letter that fits in file:{tmp_path}\n"
    assert capsys.readouterr() == ("", said)


def test_show_tells_why_and_what_to_do(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dead", "show", "sample/h", "h-000000.avro:3"]) == 0

    out = capsys.readouterr().out
    assert "verdict   rejected: reserved_run_id\n" in out
    assert "means     its run_id begins with ~" in out
    assert "to do     correct the names" in out
    assert "00000000  04 63 31 00 04 68 31" in out
    assert '"run_id": "~x\\u001b[31m"' in out
    assert "\x1b" not in out


def test_show_as_json_has_the_bytes_and_the_record(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dead", "show", "sample/h", "h-000000.avro:3", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert cli.main(["dead", "show", "sample/h", "h-000000.avro:1", "--json"]) == 0
    unread = json.loads(capsys.readouterr().out)

    assert (read["payload_hex"], read["record"]["host"]) == (REJECTED.hex(), "h1")
    assert (unread["record"], unread["record_unreadable"], unread["bytes"]) == (None, "undecodable", 40)


def test_bytes_come_out_as_they_were(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show = ["dead", "show", "sample/h", "h-000000.avro:3", "--raw"]

    assert cli.main([*show, "hex"]) == 0
    assert capsys.readouterr().out == REJECTED.hex() + "\n"
    assert cli.main([*show, "record.bin"]) == 0
    assert Path("record.bin").read_bytes() == REJECTED
    assert cli.main([*show, "no/such/folder"]) == 1
    assert "--raw no/such/folder cannot be written: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "sample/h", "9"], 1, "dead letter sample/h 9: there is none in file:"),
        (["ls", "--since", "soon"], 2, "--since soon is neither like 90s, 30m, 24h, 7d nor like 2026-"),
        (["ls", "--limit", "0"], 2, "--limit 0 is not a number above 0; the default is 50"),
        (["ls", "--log", "kafka://127.0.0.1:1"], 1, "needs a schema registry; give --registry URL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_questions_are_answered(
    log: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert cli.main(["dead", *arguments]) == code

    assert said in capsys.readouterr().err


def test_hostile_files_among_the_letters_hurt_nobody(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = codec.encode("dead_letter", letter(7).to_avro())
    write(log, "flow.3", [letter(6, source="dead_letter/flow.1", payload=inner), letter(8, "a word\x1b of 2031")])
    (log / "dead_letter/evil-000000.avro").write_bytes(corpus.embedded(corpus.nested(5_000)))
    (log / "dead_letter/evil-000001.avro").write_bytes(corpus.compressed(b"deflate", corpus.deflate_bomb(64)))

    assert cli.main(["dead", "ls"]) == 0
    out, err = capsys.readouterr()
    assert cli.main(["dead", "show", "dead_letter/flow.1", "h-000000.avro:6"]) == 0

    assert "a word? of 2031" in out
    assert "2 records of topic dead_letter are no dead letters" in err
    assert "no record: topic dead_letter is none that the flow reads" in capsys.readouterr().out


def test_every_reason_has_words() -> None:
    in_code = {
        word
        for path in (ROOT / "kappawatt/ledger/control.py", ROOT / "kappawatt/wire/resolution.py")
        for word in (*verdicts.REASONS, *_returned(path))
    }

    assert in_code - set(REASONS) == set()
    assert set(REASONS) <= set((ROOT / "docs/semantics.md").read_text().replace("`", " ").replace("(", " ").split())
    assert explain("a later word").means == "this version does not know the reason"


def _returned(path: Path) -> list[str]:
    """The words that the judges of control records return."""
    return re.findall(r'return "([a-z_]+)"', path.read_text())

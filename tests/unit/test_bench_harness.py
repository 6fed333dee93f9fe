"""The parts of the benchmark's harness that need no server: engine.toml, identity check, process watch."""

import dataclasses
import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import engines
from benchmarks.harness.charts import draw
from benchmarks.harness.cluster import Answer, BenchError, Cluster
from benchmarks.harness.data import Data
from benchmarks.harness.identity import differences
from benchmarks.harness.live import Paced, Written, latencies
from benchmarks.harness.plan import MEASURES, Results, Work, _works, full, measure, quick, too_slow_at
from benchmarks.harness.report import Chosen, goals, records_of, report, us_a_tick
from benchmarks.harness.shape import Shape
from benchmarks.harness.watch import Watch, wait_for

MODULES = ("identity", "live", "oracle", "pace", "plan", "report")

ROW = {"energy_uj": 6, "cpu_uj": 1, "gpu_uj": 2, "memory_uj": 3, "other_uj": 0, "estimated_uj": 0, "emissions_g": 1.5}
EXPECTED = {"run|5|0": ROW, "run|total|0": {"energy_uj": 6, "emissions_g": 1.5}}
COUNTS = {"duplicate": 3, "late": 1, "dead": 2}


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"benchmarks.harness.{name}"))
    assert found.attempted > 0
    assert found.failed == 0


def test_equal_answer_has_no_differences_and_flush_rows_are_not_looked_at() -> None:
    got = {**EXPECTED, "run|5|0": {**ROW, "emissions_g": 1.5 + 1e-12}, "~flush|5|0": ROW}
    assert differences(EXPECTED, COUNTS, got, COUNTS) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run|5|0": {**ROW, "gpu_uj": 3}}, "gpu_uj: 3, expected 2"),
        ({"run|5|0": {**ROW, "energy_uj": 6.0}}, "energy_uj: 6.0, expected 6"),
        ({"run|5|0": {**ROW, "emissions_g": 1.5001}}, "emissions_g: 1.5001"),
        ({"run|5|0": {**ROW, "emissions_g": None}}, "emissions_g: None"),
        ({"run|5|5000000": ROW}, "is no row of the oracle"),
    ],
)
def test_wrong_row_is_named(change: dict[str, object], said: str) -> None:
    found = differences(EXPECTED, COUNTS, {**EXPECTED, **change}, COUNTS)  # type: ignore[dict-item]
    assert len(found) == 1
    assert said in found[0]


def test_missing_row_and_wrong_count_are_named() -> None:
    found = differences(EXPECTED, COUNTS, {"run|5|0": ROW}, {**COUNTS, "late": 0})
    assert found == ["run|total|0 is missing", "late: counted 0, expected 1"]


def test_many_differences_are_cut_short_and_counted() -> None:
    found = differences({f"run|5|{n}": ROW for n in range(50)}, {}, {}, {}, most=5)
    assert len(found) == 6
    assert "45 more" in found[-1]


def test_last_value_of_a_key_counts_and_instances_are_added_up() -> None:
    answer = Answer()
    answer.take(b"a|5|0", b'{"energy_uj": 1}')
    answer.take(b"a|5|0", b'{"energy_uj": 2}')
    answer.take(b"b|5|0", b'{"energy_uj": 2}')
    answer.take(b"b|5|0", None)
    for number in (4, 5):
        answer.take(b"count|late|one", b'{"n": %d}' % number)
    answer.take(b"count|late|two", b'{"n": 1}')
    assert answer.rows == {"a|5|0": {"energy_uj": 2}}
    assert answer.counts == {"duplicate": 0, "late": 6, "dead": 0}


def engine_in(folder: Path, text: str) -> engines.Engine:
    (folder / "toy").mkdir(exist_ok=True)
    (folder / "toy" / "engine.toml").write_text(text)
    return engines.load("toy", folder)


TOY = """
name = "toy"
title = "Toy"
version = "1"
build = [["{python}", "-c", "import pathlib; pathlib.Path(r'{home}', 'made').touch()"]]
run = ["{python}", "{home}/x.py"]
loc = ["*.py"]
notes = "none"
"""


def test_engine_is_built_once_into_a_home_that_follows_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engine = engine_in(tmp_path, TOY)
    home = engine.built()
    (home / "made").unlink()
    assert engine.built() == home
    assert not (home / "made").exists()
    assert engine.command() == [sys.executable, f"{home}/x.py"]
    (tmp_path / "toy" / "requirements.txt").write_text("another==1\n")
    assert engine.built() != home


def test_failed_build_is_told_with_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engine = engine_in(
        tmp_path, TOY.replace("import pathlib; pathlib.Path(r'{home}', 'made').touch()", "raise SystemExit('no way')")
    )
    with pytest.raises(BenchError, match="no way"):
        engine.built()


def test_lines_of_a_job_are_those_with_code(tmp_path: Path) -> None:
    engine = engine_in(tmp_path, TOY)
    (tmp_path / "toy" / "job.py").write_text("# words\n\nx = 1\n  # more\ny = 2\n")
    assert engine.lines() == 2


@pytest.mark.parametrize("text", ["name = ", 'name = "toy"\n'])
def test_unusable_engine_toml_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(BenchError, match=r"engine\.toml"):
        engine_in(tmp_path, text)


def test_unknown_engine_is_told_the_known(tmp_path: Path) -> None:
    engine_in(tmp_path, TOY)
    with pytest.raises(BenchError, match="toy"):
        engines.load("tyo", tmp_path)


@pytest.mark.parametrize("name", engines.names())
def test_every_engine_of_the_benchmark_can_be_loaded_and_its_job_has_lines(name: str) -> None:
    engine = engines.load(name)
    assert engine.name == name
    assert engine.lines() > 0


WORK = "sum(i * i for i in range(6_000_000))"
PARENT = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', '{WORK}'])\ntime.sleep(60)"


def test_watch_counts_the_cpu_of_children_that_ended_and_kills_the_tree() -> None:
    process = subprocess.Popen([sys.executable, "-c", PARENT])
    watch = Watch(process.pid)
    try:
        assert wait_for(lambda: watch.cpu_s() > 0.15, 20)
        assert watch.peak_bytes() > 5_000_000
    finally:
        watch.kill()
        assert process.wait(10) == -9
        watch.stop()


def test_latency_is_from_the_last_tick_of_a_window_to_the_first_row_with_all_of_it() -> None:
    paced, written = object.__new__(Paced), object.__new__(Written)
    paced.rate, paced.completes = 10.0, {"r|5|0": 20, "r|5|5000000": 40}
    rows = {"r|5|0": {"energy_uj": 7}, "r|5|5000000": {"energy_uj": 9}}
    paced.data = Data(shape=Shape(ticks=1), prefix="", messages=50, bytes=0, expected=rows, counts={})
    written.rows = [(101.0, "r|5|0", 3), (102.5, "r|5|0", 7), (103.0, "r|5|0", 7), (103.0, "r|5|5000000", 8)]

    assert latencies(written, paced, 100.0) == [(2.0, 0.5)]


def record(engine: str, cpu_s: float, **more: object) -> dict[str, object]:
    head = {"measure": "catchup", "engine": engine, "devices": 11, "ticks": 1_000_000, "readings": 11_000_000}
    head |= {"processes": 1, "pass": 1, "round": 1, "cpu_s": cpu_s, "wall_s": 2.0, "before_cpu_s": 0.5, "before_s": 1.0}
    return head | {"peak_bytes": 5_000_000, "identity": "ok"} | more


def results(path: Path, records: list[dict[str, object]]) -> str:
    head = {"plan": "x", "began": "now", "cores": 2, "memory_gb": 8, "system": "s", "python": "3"}
    path.write_text(json.dumps({**head, "records": records}))
    return report(path)


def test_report_takes_medians_over_rounds_of_the_last_pass_and_compares_with_the_goals(tmp_path: Path) -> None:
    ours = [record("kappawatt", cpu_s, round=number) for number, cpu_s in enumerate((3.0, 4.0, 2.0), 1)]
    flink = [record("flink_expert", 9.0), record("flink_expert", 3.6, **{"pass": 2})]

    text = results(tmp_path / "r.json", [*ours, *flink])

    assert "| 3.00 (2.00-4.00) |" in text
    assert "| 1 | 3.60 | 1.20 | 9.00 | 9.50 |" in text
    assert goals([*ours, *flink])[0][2:] == ("1.20 ×", True)
    assert "3.67 M readings/s | yes" in text


def test_report_shows_no_figure_of_an_engine_whose_rows_are_wrong(tmp_path: Path) -> None:
    text = results(tmp_path / "r.json", [record("kappawatt", 3.0, identity="differs", why=["run|5|0 is missing"])])

    assert "3.00" not in text
    assert "run|5|0 is missing" in text


def test_every_measure_has_a_chart_with_the_names_of_its_engines(tmp_path: Path) -> None:
    live = {"measure": "latency", "engine": "kappawatt", "rate": 5000, "p50_s": 0.5, "p99_s": 1.0, "p999_s": 1.5}
    kill = {"measure": "recovery", "engine": "kappawatt", "rate": 5000, "ready_s": 1.0, "first_row_s": 4.0}
    records = [record("kappawatt", 3.0), record("peer", 9.0), record("quix", 60.0)]
    records += [record("raw_consume", 1.0, identity="none")]
    records += [live | {"identity": "ok"}, kill | {"identity": "ok"}, record("wrong", 1.0, identity="differs")]

    charts = draw(records, tmp_path)

    assert {path.stem for path in charts} == {"catchup-11", "memory", "wall", "recovery", "start", "lines", "latency"}
    text = (tmp_path / "catchup-11.svg").read_text()
    assert all(name in text for name in ("kappawatt", "peer", "consume only", "9.00", "3 × ours", "one round"))
    assert "kappawatt" not in (tmp_path / "lines.svg").read_text().replace("kappawatt's job is", "")
    assert "wrong" not in text
    assert draw(records, tmp_path / "again")[0].read_text() == text


def test_more_results_are_further_rounds_of_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    Results(path, quick()).add([record("kappawatt", 3.0)], 1)
    Results(path, quick(), more=True).add([record("kappawatt", 5.0)], 1)

    found = records_of(path)

    assert [each["cpu_s"] for each in found] == [3.0, 5.0]
    assert Chosen(found, 11).values(us_a_tick, warm=True) == {"kappawatt": [3.0, 5.0]}


def works(tmp_path: Path, names: tuple[str, ...]) -> list[Work]:
    plan = full(names)
    cluster = Cluster("127.0.0.1:1", "http://127.0.0.1:1")  # nothing is asked of it: no work is done here
    return list(_works(cluster, plan, [engines.load(name) for name in names], Results(tmp_path / "r.json", plan)))


def test_whole_plan_is_reckoned_to_fit_into_an_hour_and_has_three_rounds_of_fast_engines_and_one_of_slow(
    tmp_path: Path,
) -> None:
    found = works(tmp_path, tuple(engines.names()))

    assert 20 * 60 < sum(work.expected_s for work in found) < 56 * 60
    rounds = {name: [w.round for w in found if w.name.startswith(f"{name}: catchup, ticks of 11,")] for name in MEMBERS}
    assert rounds == {"kappawatt": [1, 2, 3], "flink_expert": [1, 2, 3], "quix": [1]}
    assert all(any(f": {measure}" in work.name for work in found) for measure in MEASURES)


MEMBERS = ("kappawatt", "flink_expert", "quix")


def test_what_did_not_keep_up_is_not_asked_for_more() -> None:
    kept = {"measure": "latency", "engine": "a", "rate": 5_000, "kept_up": True}
    lost = kept | {"rate": 20_000, "kept_up": False}

    assert too_slow_at([kept, lost], "a", 50_000) == 20_000
    assert too_slow_at([kept, lost], "a", 5_000) is None
    assert too_slow_at([kept, lost], "b", 50_000) is None


def test_report_names_what_is_not_available_with_its_reason_and_what_there_was_no_time_for(tmp_path: Path) -> None:
    lacks = [{"measure": "latency", "engine": "peer", "rate": rate, "identity": "n/a"} for rate in (20_000, 50_000)]
    path = tmp_path / "r.json"
    head = {
        "plan": "x",
        "began": "now",
        "cores": 2,
        "memory_gb": 8,
        "system": "s",
        "python": "3",
        "left_out": ["later"],
    }
    path.write_text(json.dumps({**head, "records": [each | {"why": ["too slow"]} for each in lacks]}))

    text = report(path)

    assert "| peer | latency | 20,000 readings/s, 50,000 readings/s | too slow |" in text
    assert "- later" in text
    assert "Not charted" not in text


def test_what_there_is_no_time_for_is_named_in_the_results_and_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = dataclasses.replace(full(("kappawatt",)), minutes=-1.0)
    found = Results(tmp_path / "r.json", plan)

    measure(Cluster("127.0.0.1:1", "http://127.0.0.1:1"), plan, found)

    left = json.loads(found.path.read_text())["left_out"]
    assert "kappawatt: recovery at 50,000 readings/s" in left
    assert found.records == []
    assert f"{len(left)} are left out" in capsys.readouterr().err

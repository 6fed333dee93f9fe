"""Order leaves no trace: any arrival, batching, bucketing, sharding and restart gives the oracle's rows (§5)."""

import pickle
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.ledger.runs import Run
from tests.oracle.records import MIDNIGHT, sample
from tests.unit.ledger_kit import DAY, Ledger
from tests.unit.ledger_stories import HOSTS, UNEXPLAINED, W1H, W5M, stories

LATENESS = W1H
NEVER = MIDNIGHT + DAY


def told(ledger, kind, record):
    """Hand one record to the ledger; a host's samples are always in the same bucket."""
    if kind == "sample":
        bucket = ledger.names[HOSTS.index(record["host"]) % len(ledger.names)]
        ledger.read(record, partition=f"sample/{record['host']}", bucket=bucket)
    else:
        getattr(ledger, kind)(record)


def split(data, items):
    """The items in any order, in a few groups."""
    shuffled = data.draw(st.permutations(items))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=3)))
    return [shuffled[first:last] for first, last in zip([0, *cuts], [*cuts, len(items)], strict=True)]


def messages(story):
    return [
        *(("sample", each) for each in story.samples),
        *(("price", each) for each in story.prices),
        *(("event", each) for each in story.events),
    ]


def rows(ledger):
    """All but what the shards do not know, and what tells in which order prices came."""
    return {name: ledger.rows[name] for name in ledger.rows if name not in ("accounting", "intensity", "restatement")}


def go(ledger, groups, *, restarts=()):
    """Flush after every group. Watermarks go as far as they can without making anything late."""
    for number, group in enumerate(groups):
        for kind, record in group:
            told(ledger, kind, record)
        later = [each for group in groups[number + 1 :] for each in group]
        coming = [each["start"] for kind, each in later if kind == "sample"]
        coming += [each["at"] for kind, each in later if kind == "event" and each["type"].startswith("phase")]
        for bucket in ledger.names:
            ledger.report(min(coming, default=NEVER), bucket=bucket)
        ledger.flush()
        if number in restarts:
            ledger.restart()
    return ledger.end()


@settings(max_examples=25, phases=UNEXPLAINED)
@given(stories, st.data())
def test_rows_are_the_oracles_in_any_order_and_split(story, data):
    groups = split(data, messages(story))
    buckets = data.draw(st.sampled_from(("a", "ab", "abc")))

    ledger = go(Ledger(*buckets, lateness_us=LATENESS, shards=data.draw(st.integers(1, 4))), groups)

    assert rows(ledger) == story.expected(lateness_us=LATENESS, told_us=NEVER)


@settings(max_examples=25, phases=UNEXPLAINED)
@given(stories, st.data())
def test_rows_are_the_oracles_with_restarts_at_any_point(story, data):
    groups = split(data, messages(story))
    restarts = data.draw(st.sets(st.integers(0, 3)))

    ledger = go(Ledger("a", "b", lateness_us=LATENESS), groups, restarts=restarts)

    assert rows(ledger) == story.expected(lateness_us=LATENESS, told_us=NEVER)


@settings(max_examples=12, phases=UNEXPLAINED)
@given(stories, st.data())
def test_repeats_anywhere_change_nothing(story, data):
    again = [(kind, record) for kind, record in messages(story) if data.draw(st.booleans())]
    groups = split(data, messages(story) + again)

    ledger = go(Ledger(lateness_us=LATENESS), groups)

    assert rows(ledger) == story.expected(lateness_us=LATENESS, told_us=NEVER)


@settings(max_examples=12, phases=UNEXPLAINED)
@given(stories, st.data())
def test_dump_is_independent_of_what_comes_later(story, data):
    ledger = Ledger(lateness_us=LATENESS)
    for kind, record in split(data, messages(story))[0]:
        told(ledger, kind, record)
    dumps = [shard.dump() for shard in ledger.flush().shards]
    before = [repr(dump) for dump in dumps]

    for kind, record in messages(story):
        told(ledger, kind, record)
    ledger.report(NEVER).flush()

    assert [repr(dump) for dump in dumps] == before


@settings(max_examples=25, phases=UNEXPLAINED)
@given(stories, st.data())
def test_quiet_flushes_leave_what_others_leave(story, data):
    """A start folds again what was shown before and makes few rows of it: the state must be the same."""
    groups = split(data, messages(story))
    one, other = Ledger("a", "b", shards=1), Ledger("a", "b", shards=1)
    shard = other.shards[0]
    flush, shard.flush = shard.flush, lambda: flush(quiet=True)

    go(one, groups)
    go(other, groups)

    assert plain(one.shards[0]) == plain(shard)


def plain(shard):
    """All that a shard keeps; states of runs unpacked, for those that were not looked at are compressed."""
    known, *parts = shard.dump()[1]
    runs = [Run.load(pickle.loads(kept if kept[:1] == pickle.PROTO else zlib.decompress(kept))) for kept in known[3]]
    return [str(run.dump()) for run in runs], str(known[:3]), str(known[4:]), str(parts)


def test_flush_without_news_gives_nothing():
    ledger = Ledger(shards=1).read(sample()).flush()

    assert not ledger.shards[0].flush()


def test_only_rows_that_changed_are_written_again():
    ledger = Ledger(shards=1).read(sample(), sample(seq=1, run_id="r2")).flush()
    ledger.read(sample(seq=2, start=MIDNIGHT + W5M, end=MIDNIGHT + W5M + 1))

    flush = ledger.shards[0].flush()

    written = {name: [row[0] for row in found] for name, found in flush.rows.items()}
    names = ("run", "run_total", "run_window_5s", "run_window_5m", "run_window_1h")
    assert written == {name: ["r1"] for name in names}


@pytest.mark.parametrize("ended", [("a",), ("b",), ()])
def test_nothing_becomes_final_before_all_buckets_have_ended(ended):
    ledger = Ledger("a", "b").read(sample(), bucket="a")

    for bucket in ended:
        ledger.report(None, bucket=bucket, ended=True)
    ledger.flush()

    assert not any(row["final"] for row in ledger.table("run_window_5s"))
    assert all(row["final"] for row in ledger.end().table("run_window_5s"))

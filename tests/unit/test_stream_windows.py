"""Tumbling windows against a dict that does the same one record at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.table import Column
from kappawatt.stream.windows import KEY_BITS, Status, TumblingWindows

WIDTH, LATENESS = 10, 15
COLUMNS = {"count": Column("sum"), "least": Column("min"), "most": Column("max")}
FAR = 1 << 70

record = st.tuples(st.integers(0, 3), st.integers(-30, 90), st.integers(-5, 5))
records = st.lists(record, max_size=12)
step = st.tuples(records, st.none() | st.integers(-20, 120))
steps = st.lists(step, max_size=6)


def windows():
    return TumblingWindows(WIDTH, LATENESS, COLUMNS)


def fold(table, batch):
    """Fold records (key, instant, value) and return the late ones."""
    key, instant, value = np.array(batch, np.int64).reshape(-1, 3).T
    late = table.fold(key, instant, {"count": np.ones_like(value), "least": value, "most": value})
    return [each for each, is_late in zip(batch, late.tolist(), strict=True) if is_late]


def given_rows(rows):
    """Rows as {(key, start): (status, (count, least, most))}."""
    columns = zip(*(rows.columns[name].tolist() for name in COLUMNS), strict=True)
    places = zip(rows.key.tolist(), rows.start.tolist(), strict=True)
    return dict(zip(places, zip(rows.status.tolist(), columns, strict=True), strict=True))


class Model:
    """The same with a dict and a loop."""

    def __init__(self):
        self.kept, self.shown, self.dirty, self.watermark = {}, {}, set(), -FAR

    def evicted(self, start):
        return start + WIDTH + LATENESS <= self.watermark

    def fold(self, batch):
        late = []
        for key, instant, value in batch:
            place = (key, instant // WIDTH * WIDTH)
            if self.evicted(place[1]):
                late.append((key, instant, value))
                continue
            self.kept.setdefault(place, []).append(value)
            self.dirty.add(place)
        return late

    def status(self, place):
        if self.evicted(place[1]):
            return Status.FINAL
        if self.shown.get(place, Status.PROVISIONAL) != Status.PROVISIONAL:
            return Status.CORRECTED
        return Status.COMPLETE if place[1] + WIDTH <= self.watermark else Status.PROVISIONAL

    def take(self):
        rows = {}
        for place, values in list(self.kept.items()):
            was, status = self.shown.get(place), self.status(place)
            newly_over = was in (None, Status.PROVISIONAL) and status != Status.PROVISIONAL
            if place in self.dirty or newly_over or status == Status.FINAL:
                rows[place] = (status, (len(values), min(values), max(values)))
                self.shown[place] = status
            if status == Status.FINAL:
                del self.kept[place]
        self.dirty = set()
        return rows


@given(steps)
def test_windows_give_what_a_dict_gives(told):
    table, model = windows(), Model()

    for batch, watermark in told:
        assert fold(table, batch) == model.fold(batch)
        table.advance(watermark)
        model.watermark = max(model.watermark, -FAR if watermark is None else watermark)
        assert given_rows(table.take()) == model.take()


@given(steps, st.integers(0, 6), st.booleans())
def test_loaded_windows_go_on_as_the_dumped(told, cut, taken):
    table, loaded = windows(), windows()
    for batch, watermark in told[:cut]:
        fold(table, batch)
        table.advance(watermark)
        if taken:
            table.take()

    loaded.load(table.dump())

    for batch, watermark in told[cut:]:
        assert fold(loaded, batch) == fold(table, batch)
        table.advance(watermark)
        loaded.advance(watermark)
        assert given_rows(loaded.take()) == given_rows(table.take())
    assert given_rows(loaded.take(ended=True)) == given_rows(table.take(ended=True))


@given(records, st.data())
def test_final_rows_depend_on_neither_order_nor_batches(batch, data):
    shuffled = data.draw(st.permutations(batch))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(batch)), max_size=4)))
    whole, pieces = windows(), windows()

    fold(whole, batch)
    for low, high in zip([0, *cuts], [*cuts, len(batch)], strict=True):
        fold(pieces, shuffled[low:high])
        pieces.take()
    whole.advance(FAR)
    pieces.advance(FAR)

    assert given_rows(pieces.take()) == given_rows(whole.take())


@given(steps)
def test_every_record_is_in_one_final_row_or_late(told):
    table, counted, late = windows(), 0, 0
    for batch, watermark in told:
        late += len(fold(table, batch))
        table.advance(watermark)
        counted += sum(row[0] for status, row in given_rows(table.take()).values() if status == Status.FINAL)
    table.advance(FAR)
    counted += sum(row[0] for _, row in given_rows(table.take()).values())

    assert counted + late == sum(len(batch) for batch, _ in told)
    assert len(table) == 0


@given(steps)
def test_no_window_is_final_twice(told):
    table, final = windows(), []
    for batch, watermark in told:
        fold(table, batch)
        table.advance(watermark)
        final += [place for place, (status, _) in given_rows(table.take()).items() if status == Status.FINAL]

    assert len(final) == len(set(final))


def test_row_goes_from_provisional_to_final():
    table, seen = windows(), []
    for instant, watermark in ((3, 3), (4, 10), (5, 12), (None, 24), (None, 25)):
        fold(table, [] if instant is None else [(0, instant, 1)])
        table.advance(watermark)
        seen += [(Status(status).name, row[0]) for status, row in given_rows(table.take()).values()]

    assert seen == [("PROVISIONAL", 1), ("COMPLETE", 2), ("CORRECTED", 3), ("FINAL", 3)]


def test_straggler_of_an_evicted_window_is_late_and_makes_no_row():
    table = windows()
    fold(table, [(0, 3, 1)])
    table.advance(25)
    table.take()

    late = fold(table, [(0, 4, 1), (0, 10, 1)])

    assert late == [(0, 4, 1)]
    assert list(given_rows(table.take())) == [(0, 10)]


def test_end_of_the_log_gives_final_rows_that_a_longer_log_corrects():
    table = windows()
    fold(table, [(0, 3, 1)])

    ended = given_rows(table.take(ended=True))
    fold(table, [(0, 4, 1)])
    longer = given_rows(table.take())

    assert ended == {(0, 0): (Status.FINAL, (1, 1, 1))}
    assert longer == {(0, 0): (Status.CORRECTED, (2, 1, 1))}


def test_watermark_never_goes_back():
    table = windows()
    for watermark in (30, None, 5):
        table.advance(watermark)

    assert table.watermark == 30
    assert fold(table, [(0, 4, 1)]) == [(0, 4, 1)]


@pytest.mark.parametrize("bad", [(-1, 0, 0), (1 << KEY_BITS, 0, 0), (0, WIDTH << 40, 0), (0, -(WIDTH << 40) - 1, 0)])
def test_absurd_keys_and_instants_are_refused(bad):
    with pytest.raises(ValueError, match="tumbling windows take"):
        fold(windows(), [bad])


@pytest.mark.parametrize(("width", "lateness"), [(0, 5), (5, -1)])
def test_impossible_windows_are_refused(width, lateness):
    with pytest.raises(ValueError, match="it takes"):
        TumblingWindows(width, lateness, COLUMNS)


def test_repr_tells_how_many_are_open():
    table = windows()
    fold(table, [(0, 3, 1), (1, 3, 1)])

    assert repr(table) == "<TumblingWindows of 10, 2 open rows, watermark None>"

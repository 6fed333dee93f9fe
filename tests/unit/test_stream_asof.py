"""The as-of table: the best record at a slot, whatever the order in which records came."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.asof import LONG, AsOfTable


class Offer(NamedTuple):
    group: str
    first: int
    end: int
    worth: int


def rank(offer: Offer, level: int) -> tuple[object, ...]:
    """The nearest group before the greatest worth; equal ranks are equal offers."""
    return (-level, offer.worth, offer)


offers = st.lists(
    st.builds(
        lambda group, first, long, worth: Offer(group, first, first + long, worth),
        st.sampled_from("abc"),
        st.integers(-5, 15),
        st.integers(1, 6) | st.sampled_from((LONG, LONG + 1, 10**12)),
        st.integers(0, 3),
    ),
    max_size=12,
)


def table_of(records):
    table = AsOfTable(rank)
    for record in records:
        table.add(record, record.group, record.first, record.end)
    return table


def chosen(table, groups, slot):
    index = table.best(groups, slot)
    return None if index < 0 else table.records[index]


@given(offers, st.permutations("abc"), st.integers(1, 3), st.integers(-8, 25))
def test_best_is_the_greatest_rank_of_those_that_hold(records, order, wanted, slot):
    groups = order[:wanted]

    best = chosen(table_of(records), groups, slot)

    holding = [each for each in records if each.group in groups and each.first <= slot < each.end]
    assert best == max(holding, key=lambda each: rank(each, groups.index(each.group)), default=None)


@given(offers, st.data(), st.integers(-8, 25))
def test_best_does_not_depend_on_the_order_of_arrival(records, data, slot):
    shuffled = data.draw(st.permutations(records))

    assert chosen(table_of(shuffled), "abc", slot) == chosen(table_of(records), "abc", slot)


def test_ends_are_half_open():
    table = table_of([Offer("a", 2, 4, 1)])

    assert [table.best(["a"], slot) for slot in (1, 2, 3, 4)] == [-1, 0, 0, -1]


def test_long_periods_are_found_like_short_ones():
    table = table_of([Offer("a", 0, LONG, 1), Offer("a", 0, LONG + 1, 2)])

    assert [table.best(["a"], slot) for slot in (0, LONG - 1, LONG, LONG + 1)] == [1, 1, 1, -1]


def test_group_that_nobody_offered_has_none():
    assert table_of([Offer("a", 0, 5, 1)]).best(["x", "y"], 2) == -1


def test_repr_tells_how_many():
    assert repr(table_of([Offer("a", 0, 5, 1)])) == "<AsOfTable 1 records>"

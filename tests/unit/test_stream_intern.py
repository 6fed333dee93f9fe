"""Codes for names: dense, stable, the same after a reload."""

from hypothesis import given
from hypothesis import strategies as st

from kappawatt.stream.intern import Interner

names = st.lists(st.text(max_size=3))


@given(names)
def test_codes_count_up_in_the_order_of_first_sight(asked):
    interner = Interner()

    codes = [interner.code(name) for name in asked]

    seen = list(dict.fromkeys(asked))
    assert codes == [seen.index(name) for name in asked]
    assert [interner[code] for code in codes] == asked
    assert (interner.names, len(interner)) == (seen, len(seen))


@given(names, names)
def test_loaded_names_keep_their_codes(before, after):
    kept, loaded = Interner(dict.fromkeys(before)), Interner()

    loaded.load(kept.names)

    assert [loaded.code(name) for name in before] == [kept.code(name) for name in before]
    assert len({loaded.code(name) for name in before + after}) == len({*before, *after})


def test_asking_whether_a_name_is_known_does_not_make_it_known():
    interner = Interner(["a"])

    assert ("a" in interner, "b" in interner, len(interner)) == (True, False, 1)

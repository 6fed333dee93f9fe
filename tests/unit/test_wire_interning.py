"""Codes for byte blocks: equal bytes, equal code, whatever the hash says."""

import numpy as np

from kappawatt.wire.interning import Blocks, Interned
from kappawatt.wire.words import Words


class Codes:
    """Gives codes in the order in which blocks are first seen, and counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, blocks):
        self.asked.append(blocks[0])
        return None if blocks[0].startswith(b"!") else sorted(set(self.asked)).index(blocks[0])


def look_up(table, blocks):
    size = np.array([len(each) for each in blocks], np.int64)
    whole = b"".join(blocks)
    return table.codes(Words(whole, len(whole)), [Blocks(np.cumsum(size) - size, size)]).tolist()


def test_each_block_is_parsed_once():
    parse = Codes()
    table = Interned(parse, 1)

    first = look_up(table, [b"a", b"b", b"a"])
    second = look_up(table, [b"b", b"a"])

    assert (first, second) == ([0, 1, 0], [1, 0])
    assert parse.asked == [b"a", b"b"]


def test_unreadable_block_has_no_code():
    assert look_up(Interned(Codes(), 1), [b"!", b"a"]) == [-1, 1]


def test_nothing_has_no_code_even_beside_a_block_of_zeros():
    table = Interned(lambda blocks: len(blocks[0]), 1)

    assert look_up(table, [b"\0"]) == [1]
    assert look_up(table, [b"", b"\0", b""]) == [-1, 1, -1]


def test_block_with_the_hash_of_another_has_no_code():
    one, two = b"12345678abcdefgh", b"abcdefgh12345678"
    weak = Interned(Codes(), 1, random=bytes)  # keys of equal numbers do not see an order

    assert look_up(weak, [one, two, one]) == [0, -1, 0]
    assert look_up(weak, [two]) == [-1]


def test_longer_and_shorter_blocks_keep_their_codes():
    table = Interned(lambda blocks: len(blocks[0]), 1)
    short, long = [b"ab", b"c" * 9], [b"d" * 100, b"ab", b"e" * 1000]

    assert look_up(table, short) == [2, 9]
    assert look_up(table, long) == [100, 2, 1000]
    assert look_up(table, short + long) == [2, 9, 100, 2, 1000]


def test_full_table_forgets_and_learns_again():
    parse = Codes()
    table = Interned(lambda blocks: parse(blocks) and int(blocks[0]), 1, most=100)
    numbers = [str(each).encode() for each in range(1000, 1090)]
    look_up(table, numbers)

    others = look_up(table, [str(each).encode() for each in range(2000, 2090)])

    assert others == list(range(2000, 2090))
    assert look_up(table, numbers[1:9]) == list(range(1001, 1009))
    assert len(parse.asked) == 188


def test_table_grows_beyond_its_first_size():
    table = Interned(lambda blocks: int(blocks[0]), 1)
    numbers = list(range(10_000, 15_000))

    found = look_up(table, [str(each).encode() for each in numbers])

    assert found == numbers
    assert look_up(table, [str(each).encode() for each in numbers[::7]]) == numbers[::7]

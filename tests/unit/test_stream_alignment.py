"""Parts of a process read about as much as fits, and none far ahead of another."""

from kappawatt.stream.alignment import Alignment

MINUTE = 60_000_000
SECOND = 1_000_000


def test_parts_share_the_bytes_of_an_epoch() -> None:
    alignment = Alignment(limit_bytes=100, ahead_us=MINUTE)
    alignment.note("a", 0, 60, 0)
    alignment.note("b", 0, 50, 0)

    before = alignment.may_read("c", 0)
    alignment.end_epoch("a")

    assert not before
    assert alignment.may_read("c", 0)


def test_part_waits_for_one_that_is_far_behind_and_has_more() -> None:
    alignment = Alignment(limit_bytes=100, ahead_us=MINUTE)
    alignment.note("ahead", 5 * MINUTE, 1, 0)
    alignment.note("behind", 0, 1, 0)

    assert not alignment.may_read("ahead", 0)
    assert alignment.may_read("behind", 0)


def test_part_at_its_end_holds_nobody() -> None:
    alignment = Alignment(limit_bytes=100, ahead_us=MINUTE)
    alignment.note("ahead", 5 * MINUTE, 1, 0)
    alignment.note("behind", 0, 1, 0)
    alignment.note("behind", None, 1, 0)

    assert alignment.may_read("ahead", 0)


def test_part_that_does_not_move_is_not_waited_for_for_ever() -> None:
    alignment = Alignment(limit_bytes=100, ahead_us=MINUTE)
    alignment.note("ahead", 5 * MINUTE, 1, 0)
    alignment.note("stuck", 0, 1, 0)
    alignment.note("stuck", 0, 0, 9 * SECOND)

    assert not alignment.may_read("ahead", 10 * SECOND)
    assert alignment.may_read("ahead", 11 * SECOND)

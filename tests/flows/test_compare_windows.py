"""The claim about clock-driven windows, on the two cases that need little time: they lose readings, ours do not."""

import pytest

from benchmarks.windows import CASES, failures, run, table


@pytest.mark.parametrize("case", ["skew", "straggler"])
def test_orderly_partitions_lose_readings_in_windows_driven_by_a_clock_and_none_in_ours(case):
    found = run(case)

    assert found["ours"] == {"counted": CASES[case][1], "lost": 0, "wrong_rows": 0}
    assert found["stock"]["lost"] > 0
    assert found["stock"]["wrong_rows"] > 0
    assert failures([found]) == []


def test_a_claim_that_does_not_hold_any_more_is_a_failure():
    right, wrong = ({"counted": 5 - lost, "lost": lost, "wrong_rows": lost} for lost in (0, 2))
    found = [
        {"case": "a", "what": "…", "readings": 5, "stock": right, "ours": right},
        {"case": "b", "what": "…", "readings": 5, "stock": wrong, "ours": wrong},
        {"case": "c", "what": "…", "readings": 5, "stock": wrong, "ours": right},
    ]

    assert [each.partition(":")[0] for each in failures(found)] == ["b", "a"]
    assert "| **b** … | 5 | 3 | 2 | 2 | 3 | 2 | 2 |" in table(found)

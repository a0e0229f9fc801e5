from __future__ import annotations

from glpn_cli.benchmark.stages import Timing, take_turns, timing_of


def test_a_timing_is_the_middle_and_both_ends() -> None:
    assert timing_of([3.0, 1.0, 2.0]) == Timing(2.0, 1.0, 3.0)


def test_rivals_take_turns_and_warm_up_untimed() -> None:
    calls: list[str] = []
    timings = take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=3,
        warm_ups=2,
        synchronize=lambda: calls.append("."),
    )
    assert "".join(calls).replace(".", "") == "ab" * 5
    assert calls.count(".") == 2 * len("ab" * 5)
    assert timings.keys() == {"a", "b"}
    assert all(timing.fastest_s <= timing.median_s <= timing.slowest_s for timing in timings.values())

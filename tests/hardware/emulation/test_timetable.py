"""What is done at which time of a run."""

from __future__ import annotations

import math
import time
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from hardware.emulation.timetable import Timetable, windows


def test_entries_are_called_in_order_and_not_early() -> None:
    called: list[tuple[str, float]] = []
    t0_s = time.monotonic()
    entries = [(time_s, lambda it=time_s: called.append((str(it), time.monotonic()))) for time_s in (0.0, 0.01, 0.02)]
    timetable = Timetable(entries, t0_s)  # type: ignore[arg-type]
    while len(called) < 3:
        time.sleep(0.005)
    timetable.close()
    assert [name for name, _ in called] == ["0.0", "0.01", "0.02"]
    assert all(at_s - t0_s >= time_s for (_, at_s), (time_s, _) in zip(called, entries, strict=True))


def test_an_endless_timetable_ends_when_told() -> None:
    timetable = Timetable(((1000.0 * k, lambda: None) for k in count()), time.monotonic())
    timetable.close()
    assert timetable.error is None


def test_an_error_is_kept() -> None:
    def fail() -> None:
        raise ValueError("no")

    timetable = Timetable([(0.0, fail), (1e6, fail)], time.monotonic())
    while timetable.error is None:
        time.sleep(0.005)
    timetable.close()
    assert str(timetable.error) == "no"


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), max_size=6))
def test_windows_switch_on_and_off_as_their_union_says(spans: list[tuple[int, int]]) -> None:
    state: list[bool] = [False]
    spans_s = [(float(start), float(start + length)) for start, length in spans]
    entries = windows(spans_s, lambda: state.__setitem__(0, True), lambda: state.__setitem__(0, False))
    assert [time_s for time_s, _ in entries] == sorted(time_s for time_s, _ in entries)
    for half in range(64):
        moment_s = half / 2 + 0.25
        while entries and entries[0][0] <= moment_s:
            entries.pop(0)[1]()
        assert state[0] == any(start_s <= moment_s < end_s for start_s, end_s in spans_s)


def test_what_never_ends_is_not_ended() -> None:
    assert [time_s for time_s, _ in windows([(1.0, math.inf)], print, print)] == [1.0]

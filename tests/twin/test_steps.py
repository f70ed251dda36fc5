"""Steps: closed forms, brute force in exact arithmetic, and the agreement of scalar and array methods."""

import math
import timeit
from bisect import bisect_left, bisect_right
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from twin.errors import TraceError
from twin.steps import Steps


class Exact:
    """The same function in exact arithmetic, by its cumulated amounts D(t)."""

    def __init__(self, steps):
        self.looping = steps.after_end == "loop"
        self.start = Fraction(steps.loop_from_s)
        self.end = Fraction(steps.end_s)
        self.knots = [Fraction(t) for t in steps.times_s]
        self.rates = [Fraction(v) for v in steps.values]
        self.before = [Fraction(0)]
        for a, b, rate in zip(self.knots, [*self.knots[1:], self.end], self.rates, strict=True):
            self.before.append(self.before[-1] + rate * (b - a))
        self.turn = self.before[-1] - self.inside(self.start)
        self.error = steps.after_end == "error"

    def inside(self, t):
        i = bisect_right(self.knots, t) - 1
        return self.before[i] + self.rates[i] * (t - self.knots[i])

    def delivered(self, t):
        t = Fraction(t)
        if not self.looping or t < self.end:
            return self.inside(t)
        turns = (t - self.start) // (self.end - self.start)
        return turns * self.turn + self.inside(t - turns * (self.end - self.start))

    def at(self, t):
        if self.looping and t >= self.end:
            t = self.start + (t - self.start) % (self.end - self.start)
        return self.rates[bisect_right(self.knots, t) - 1]

    def finish(self, start, amount):
        """First time at which the amount is delivered; None if never."""
        if amount <= 0:
            return Fraction(start)
        target = self.delivered(start) + Fraction(amount)
        if target <= self.before[-1]:
            return self.reached(target)
        if self.looping:
            if not self.turn:
                return None
            turns = math.ceil((target - self.before[-1]) / self.turn)
            return self.reached(target - turns * self.turn) + turns * (self.end - self.start)
        if self.error or not self.rates[-1]:
            return None
        return self.end + (target - self.before[-1]) / self.rates[-1]

    def reached(self, target):
        i = bisect_left(self.before, target) - 1
        return self.knots[i] + (target - self.before[i]) / self.rates[i]


def build(widths, values, after_end, prefix=0):
    times = [0.0]
    for width in widths:
        times.append(times[-1] + width)
    assume(all(a < b for a, b in pairwise(times)))
    loop_from = times[prefix % len(values)] if after_end == "loop" else 0.0
    return Steps(tuple(times[:-1]), tuple(values), after_end, times[-1], loop_from)


WIDTH = st.floats(1e-3, 50.0)
VALUE = st.one_of(st.just(0.0), st.floats(1e-3, 1e9))


@st.composite
def functions(draw, kinds=("hold", "loop", "error"), width=WIDTH, value=VALUE):
    n = draw(st.integers(1, 7))
    widths = draw(st.lists(width, min_size=n, max_size=n))
    values = draw(st.lists(value, min_size=n, max_size=n))
    return build(widths, values, draw(st.sampled_from(kinds)), draw(st.integers(0, n - 1)))


whole = {
    "width": st.integers(1, 6).map(float),
    "value": st.sampled_from([0.0, 0.0, 1.0, 2.0, 4.0, 8.0]),
}


class TestClosedForms:
    def test_constant(self):
        rate = Steps.constant(8e6)
        assert rate.at(0.0) == rate.at(1e9) == 8e6
        assert rate.finish(3.0, 4e6) == 3.5
        assert rate.integral(2.0, 5.0) == 24e6
        assert rate.delivered(2.0) == 16e6

    def test_a_job_that_spans_many_knots(self):
        rate = Steps((0, 1, 2, 3), (10, 20, 0, 5))
        assert rate.finish(0.5, 5 + 20) == 2.0
        assert rate.finish(0.5, 5 + 20 + 1) == pytest.approx(3.2)
        assert rate.integral(0.5, 4.0) == 5 + 20 + 0 + 5
        assert [rate.at(t) for t in (0, 0.99, 1, 2.5, 99)] == [10, 10, 20, 0, 5]

    def test_work_that_starts_in_an_outage_waits_for_its_end(self):
        assert Steps((0, 1, 3), (1, 0, 1)).finish(1.5, 1.0) == 4.0

    def test_zero_work_is_done_at_once_even_in_an_outage(self):
        assert Steps.constant(0.0).finish(7.0, 0.0) == 7.0

    def test_a_rate_held_at_zero_never_finishes(self):
        rate = Steps((0, 1), (10, 0))
        assert rate.finish(0.0, 10.0) == 1.0
        assert rate.finish(0.0, 10.1) == math.inf
        assert rate.finish(2.0, 1e-9) == math.inf
        assert rate.finish(math.inf, 1.0) == math.inf

    def test_a_loop_folds_whole_turns(self):
        rate = Steps((0, 1), (10, 0), "loop", 3.0)
        assert rate.finish(0.0, 10.0) == 1.0
        assert rate.finish(0.0, 30.0) == 7.0
        assert rate.finish(0.0, 31.0) == pytest.approx(9.1)
        assert rate.finish(0.0, 1e9 * 10 + 5) == pytest.approx(3e9 + 0.5, rel=1e-15)
        assert rate.delivered(3e6 + 0.5) == 10e6 + 5
        assert rate.finish(math.inf, 1.0) == math.inf

    def test_a_loop_without_capacity_never_finishes(self):
        assert Steps((0, 1), (0, 0), "loop", 2.0).finish(0.0, 1.0) == math.inf
        once = Steps((0, 1, 2), (5, 0, 0), "loop", 3.0, loop_from_s=1.0)
        assert once.finish(0.0, 5.0) == 1.0
        assert once.finish(0.0, 5.1) == math.inf

    def test_outages_on_both_sides_of_the_seam_are_one(self):
        rate = Steps((0, 1, 2), (0, 4, 0), "loop", 3.0)
        assert rate.finish(0.0, 4.0) == 2.0
        assert rate.finish(0.0, 8.0) == 5.0
        assert rate.finish(2.5, 4.0) == 5.0

    def test_error_refuses_what_lies_past_the_end(self):
        rate = Steps((0, 1), (10, 20), "error", 2.0, name="walk up_bps")
        assert rate.at(2.0) == 20
        assert rate.finish(0.0, 30.0) == 2.0
        assert rate.integral(0.0, 2.0) == 30.0
        for use in (
            lambda: rate.at(2.1),
            lambda: rate.finish(1.5, 11.0),
            lambda: rate.finish(2.5, 1.0),
            lambda: rate.integral(0.0, 2.5),
            lambda: rate.finish_many([0.0, 1.5], [1.0, 11.0]),
            lambda: Steps((0, 1), (10, 20), "error", 2.0, name="walk up_bps").masked(1.5).inverse_many([1.0, 21.0]),
            lambda: rate.delivered_many([0.5, 2.5]),
            lambda: rate.at_many([0.5, 2.5]),
        ):
            with pytest.raises(
                TraceError, match=r"walk up_bps .* [0-2](\.\d+)? s, but ends at 2 s; set `after_end: hold`"
            ):
                use()

    def test_the_last_step_lasts_as_long_as_the_median_of_the_others(self):
        assert Steps((0, 1, 3, 8), (1, 1, 1, 1)).end_s == 10.0
        assert Steps((0, 1, 3), (1, 1, 1)).end_s == 4.5
        assert Steps((0,), (1,)).end_s == 1.0

    def test_infinite_values_are_read_but_not_integrated(self):
        slowdown = Steps((0, 1, 2), (1, math.inf, 1))
        assert slowdown.at(1.5) == math.inf
        with pytest.raises(TraceError, match="not integrated"):
            slowdown.integral(0.0, 2.0)

    def test_misuse_by_code_is_a_value_error(self):
        rate = Steps.constant(1.0)
        for use in (
            lambda: rate.at(-1.0),
            lambda: rate.at(math.nan),
            lambda: rate.at_many([1.0, -1.0]),
            lambda: rate.finish(0.0, -1.0),
            lambda: rate.finish_many(0.0, [-1.0]),
            lambda: rate.inverse_many([math.nan]),
            lambda: rate.finish(0.0, math.nan),
            lambda: rate.integral(2.0, 1.0),
        ):
            with pytest.raises(ValueError, match=r"before 0|>= 0|back to"):
                use()


class TestOutageRobustness:
    @pytest.mark.parametrize("start", [0.1, 0.7, 1000.3, 123456.7])
    @pytest.mark.parametrize("rate", [1 / 3, 9.4e8, 7.123e5])
    def test_work_that_fills_the_time_to_an_outage_ends_before_it(self, start, rate):
        for width in np.linspace(0.001, 3.7, 97):
            knot = start + width
            steps = Steps((0.0, knot, knot + 5.0), (rate, 0.0, rate))
            assert steps.finish(start, rate * width) == pytest.approx(knot, rel=1e-15)
            assert steps.finish_many(start, rate * width) == pytest.approx(knot, rel=1e-15)

    def test_the_same_at_the_seam_of_a_loop(self):
        steps = Steps((0.0, 0.1, 0.5), (0.0, 3.3, 7.7), "loop", 0.7)
        turn = 0.4 * 3.3 + 0.2 * 7.7
        for n in range(1, 200):
            assert steps.finish(0.0, n * turn) == pytest.approx(0.7 * n, rel=1e-13)
            assert steps.inverse_many(n * turn) == pytest.approx(0.7 * n, rel=1e-13)

    def test_pieces_summed_in_another_order_still_end_before_the_outage(self):
        widths, rates = [0.1] * 10, [0.1 * (k + 1) for k in range(10)]
        knots = [0.1 * k for k in range(11)]
        steps = Steps((*knots, 9.0), (*rates, 0.0, 1.0))
        assert steps.finish(0.0, sum(w * r for w, r in zip(widths, rates, strict=True))) == pytest.approx(
            1.0, rel=1e-12
        )

    def test_more_than_rounding_waits_for_the_end_of_the_outage(self):
        steps = Steps((0.0, 1.0, 2.0), (1.0, 0.0, 1.0))
        assert steps.finish(0.0, 1.0 + 1e-9) == pytest.approx(2.0 + 1e-9, rel=1e-15)


class TestAgainstExactArithmetic:
    @given(functions(**whole), st.integers(0, 60), st.integers(0, 400))
    def test_whole_numbers_give_the_exact_answer(self, steps, start, amount):
        start = min(start, int(steps.end_s)) if steps.after_end == "error" else start
        expected = Exact(steps).finish(start, amount)
        if expected is None and steps.after_end == "error":
            with pytest.raises(TraceError):
                steps.finish(float(start), float(amount))
            return
        finish = steps.finish(float(start), float(amount))
        assert finish == pytest.approx(math.inf if expected is None else float(expected), rel=1e-15)
        assert steps.finish_many(float(start), float(amount)) == finish

    @settings(max_examples=300)
    @given(functions(("hold", "loop")), st.floats(0, 300), st.floats(1e-6, 1e11))
    def test_floats_give_the_answer_of_a_job_that_differs_by_rounding(self, steps, start, amount):
        exact = Exact(steps)
        finish = steps.finish(start, amount)
        assert finish >= start
        ulp = 8 * math.ulp(start if math.isinf(finish) else finish)
        slack = Fraction(amount) * Fraction(1e-11) + Fraction(max(steps.values)) * Fraction(ulp)
        early = exact.finish(start, Fraction(amount) - slack)
        late = exact.finish(start, Fraction(amount) + slack)
        if math.isinf(finish):
            assert late is None
        else:
            assert early is not None
            assert early - Fraction(ulp) <= Fraction(finish)
            assert late is None or Fraction(finish) <= late + Fraction(ulp)

    @given(functions(), st.floats(0, 200), st.floats(0, 200))
    def test_integral(self, steps, a, b):
        start, stop = sorted((a, b))
        if steps.after_end == "error":
            start, stop = min(start, steps.end_s), min(stop, steps.end_s)
        slack = 8 * math.ulp(stop) * max(steps.values)
        exact = Exact(steps)
        expected = float(exact.delivered(stop) - exact.delivered(start))
        assert steps.integral(start, stop) == pytest.approx(expected, rel=1e-13, abs=slack)

    @given(functions(("hold", "loop")), st.floats(0, 500))
    def test_at(self, steps, t):
        near = [t - 4 * math.ulp(t), t, t + 4 * math.ulp(t)]
        exact = Exact(steps)
        assert steps.at(t) in {float(exact.at(max(Fraction(x), Fraction(0)))) for x in near}

    @pytest.mark.parametrize("after_end", ["hold", "loop"])
    def test_durations_late_in_a_long_trace_carry_only_the_rounding_of_the_time(self, after_end):
        rng = np.random.default_rng(5)
        times = tuple(0.5 * k for k in range(2_000))
        steps = Steps(times, tuple(rng.uniform(1e6, 1e9, len(times))), after_end, 1_000.0)
        exact = Exact(steps)
        for start in rng.uniform(99_000.0, 100_000.0, 200):
            rate = steps.at(start)
            amount = 1e-2 * rate
            expected = exact.finish(start, amount) - Fraction(start)
            assert steps.finish(start, amount) - start == pytest.approx(float(expected), rel=1e-12, abs=math.ulp(1e5))

    def test_a_slow_stretch_after_a_fast_one_keeps_its_digits(self):
        times = tuple(float(k) for k in range(100_000))
        values = tuple(1e10 if k < 99_990 else 1e3 + k % 2 for k in range(100_000))
        steps = Steps(times, values)
        start, amount = 99_990.25, 3_300.0
        exact = Exact(steps)
        expected = exact.finish(start, amount) - Fraction(start)
        assert steps.finish(start, amount) - start == pytest.approx(float(expected), rel=1e-10)
        assert steps.finish_many(start, amount) - start == pytest.approx(float(expected), rel=1e-10)
        delivered = exact.delivered(start + 3.3) - exact.delivered(start)
        assert steps.integral(start, start + 3.3) == pytest.approx(float(delivered), rel=1e-10)


class TestArrays:
    @given(
        functions(("hold", "loop")),
        st.lists(st.tuples(st.floats(0, 300), st.floats(0, 1e10)), min_size=1, max_size=8),
    )
    def test_finish_many_agrees_with_finish(self, steps, jobs):
        starts, amounts = map(list, zip(*jobs, strict=True))
        expected = [steps.finish(s, a) for s, a in jobs]
        assert steps.finish_many(starts, amounts) == pytest.approx(expected, rel=1e-12)

    @given(functions(("hold", "loop")), st.lists(st.floats(0, 300), min_size=1, max_size=8))
    def test_delivered_many_and_at_many_agree_with_the_scalars(self, steps, times):
        assert steps.delivered_many(times) == pytest.approx([steps.delivered(t) for t in times], rel=1e-12)
        assert list(steps.at_many(times)) == [steps.at(t) for t in times]

    @given(functions(("hold", "loop"), **whole), st.integers(0, 100))
    def test_inverse_is_the_smallest_time(self, steps, t):
        amount = steps.delivered(float(t))
        inverse = float(steps.inverse_many(amount))
        assert inverse <= t + 1e-12 * t
        assert steps.delivered(inverse) == pytest.approx(amount, rel=1e-12)
        assert inverse == pytest.approx(float(Exact(steps).finish(0, amount)), rel=1e-13)

    @settings(max_examples=200)
    @given(functions(("hold", "loop")), st.lists(st.floats(0, 1e11), min_size=1, max_size=8))
    def test_inverse_of_any_amount(self, steps, amounts):
        exact = Exact(steps)
        for amount, inverse in zip(amounts, steps.inverse_many(amounts).tolist(), strict=True):
            slack = Fraction(amount) * Fraction(2e-12)
            early, late = exact.finish(0, Fraction(amount) - slack), exact.finish(0, Fraction(amount) + slack)
            if math.isinf(inverse):
                assert late is None
            else:
                ulp = Fraction(8 * math.ulp(inverse))
                assert early - ulp <= Fraction(inverse)
                assert late is None or Fraction(inverse) <= late + ulp

    def test_shapes_and_broadcasting(self):
        rate = Steps((0, 1), (1, 2), "loop", 2.0)
        assert rate.finish_many(np.zeros((2, 1)), np.ones(3)).shape == (2, 3)
        assert rate.finish_many([], []).shape == (0,)
        assert rate.inverse_many(0.0) == 0.0
        assert rate.inverse_many(np.ones((2, 3))).shape == (2, 3)
        assert rate.inverse_many([]).shape == (0,)

    def test_many_jobs_at_once(self):
        rng = np.random.default_rng(1)
        rate = Steps(tuple(range(300)), tuple(rng.uniform(1e6, 1e7, 300)), "loop", 300.0)
        starts = rng.uniform(0, 1e5, 200_000)
        amounts = rng.exponential(1e6, 200_000)
        finishes = rate.finish_many(starts, amounts)
        some = rng.integers(0, len(starts), 500)
        assert finishes[some] == pytest.approx(
            [rate.finish(float(starts[i]), float(amounts[i])) for i in some], rel=1e-14
        )


class TestWindows:
    @given(functions(), st.floats(0, 150), st.floats(0.01, 100), st.lists(st.floats(0, 400), min_size=1, max_size=10))
    def test_masked_is_zero_in_the_window_and_unchanged_elsewhere(self, steps, start, length, times):
        masked = steps.masked(start, start + length)
        inside = [t for t in times if steps.after_end != "error" or t + 1e-9 <= steps.end_s]
        for t in inside:
            if min(abs(t - start), abs(t - start - length)) < 1e-9:
                continue
            near = {steps.at(max(t - 1e-9, 0)), steps.at(t), steps.at(t + 1e-9)}
            assert masked.at(t) in ({0.0} if start <= t < start + length else near)

    @given(functions(("loop",)), st.floats(0, 100), st.floats(0.01, 80))
    def test_masking_a_loop_only_cuts_that_window(self, steps, start, length):
        end = start + length
        masked = steps.masked(start, end)
        lost = steps.integral(start, end)
        horizon = end + 5 * steps.end_s
        slack = 1e-12 * horizon * max(steps.values)
        assert masked.delivered(horizon) == pytest.approx(steps.delivered(horizon) - lost, rel=1e-9, abs=slack)

    def test_windows_add_up_and_repeat_nowhere(self):
        rate = Steps((0, 1), (4, 8), "loop", 2.0)
        down = rate.masked(2.5, 3.0).masked(5.5, 6.5)
        assert [down.at(t) for t in (2.4, 2.5, 2.9, 3.0, 4.5, 5.4, 5.5, 6.4, 6.5, 7.0)] == [
            4,
            0,
            0,
            8,
            4,
            8,
            0,
            0,
            4,
            8,
        ]
        assert down.delivered(10.0) == rate.delivered(10.0) - 2 - 4 - 2
        assert down.finish(2.5, 1.0) == pytest.approx(3.125)

    def test_an_endless_window(self):
        rate = Steps((0, 1), (4, 8), "loop", 2.0)
        assert rate.masked(3.0).finish(0.0, 16.0) == 3.0
        assert rate.masked(3.0).finish(0.0, 17.0) == math.inf
        assert Steps.constant(2.0).masked(3.0).finish(0.0, 7.0) == math.inf

    def test_scaled_halves_a_rate_for_a_while_or_for_good(self):
        rate = Steps((0, 1), (4, 8), "loop", 2.0)
        half = rate.scaled(0.5, 4.0, 6.0)
        assert [half.at(t) for t in (3.9, 4.0, 5.0, 6.0, 7.0)] == [8, 2, 4, 4, 8]
        assert rate.scaled(0.5).delivered(20.0) == rate.delivered(20.0) / 2
        assert rate.scaled(0.5, 3.0).delivered(20.0) == (rate.delivered(20.0) + rate.delivered(3.0)) / 2

    def test_the_end_of_a_limited_trace_stays(self):
        masked = Steps((0, 1), (4, 8), "error", 2.0).masked(1.5, 9.0)
        assert masked.finish(0.0, 8.0) == 1.5
        with pytest.raises(TraceError, match="ends at 2 s"):
            masked.at(2.5)

    @pytest.mark.parametrize("window", [(-1.0, 2.0), (2.0, 2.0), (3.0, 2.0), (math.nan, 2.0)])
    def test_a_malformed_window_is_refused(self, window):
        with pytest.raises(TraceError, match="window"):
            Steps.constant(1.0).masked(*window)


class TestChecks:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (((), ()), "at least one"),
            (((0, 1), (1,)), "one value per time"),
            (((1, 2), (1, 1)), "must start at 0"),
            (((0, 2, 2), (1, 1, 1)), "times must increase"),
            (((0, math.nan), (1, 1)), "times must increase"),
            (((0, math.inf), (1, 1)), "times must increase"),
            (((0, 1), (1, -1)), "value -1.0 at 1 s"),
            (((0, 1), (1, math.nan)), "value nan at 1 s"),
            (((0, 1), (1, 1), "wrap"), "after_end is 'wrap'"),
            (((0, 1), (1, 1), "loop", 1.0), "later than the last time"),
            (((0, 1), (1, 1), "loop", math.nan), "later than the last time"),
            (((0, 1), (1, 1), "loop", 2.0, 0.5), "one of the times"),
        ],
    )
    def test_malformed_functions_are_refused(self, arguments, words):
        with pytest.raises(TraceError, match=words):
            Steps(*arguments)

    def test_equal_functions_are_equal_and_hash_alike(self):
        a, b = Steps((0, 1), (1, 2)), Steps((0.0, 1.0), (1.0, 2.0))
        assert a == b
        assert hash(a) == hash(b)

    def test_a_loop_of_many_turns_costs_no_more_than_one(self):
        rate = Steps(tuple(range(100)), tuple(1.0 + k % 3 for k in range(100)), "loop", 100.0)
        near = min(timeit.repeat(lambda: rate.finish(0.5, 300.0), number=200, repeat=5))
        far = min(timeit.repeat(lambda: rate.finish(0.5, 300.0e9), number=200, repeat=5))
        assert far < 10 * near

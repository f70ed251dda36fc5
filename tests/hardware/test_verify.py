"""Which answers are checked, what counts as the whole model's answer, and what a wrong answer becomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Residual, run_apart

from hardware.inputs import random_pool
from hardware.models import MODELS, build_model
from hardware.stages import split
from hardware.tracing.trace import trace
from hardware.verify import (
    LEAST,
    SHARE,
    TOLERANCE,
    Checker,
    Keeper,
    Kernels,
    Verdict,
    chosen,
    difference,
    failed,
    tolerance,
)
from twin.partition import thirds
from twin.records import Outcome, Reason, Requests

SHAPE = (1, 3, 8, 8)


def requests_of(epochs, outcomes=None, replication: int = 0) -> Requests:
    n = len(epochs)
    outcome = np.array([Outcome.OK] * n if outcomes is None else outcomes, dtype=np.int8)
    return Requests(
        replication=np.full(n, replication),
        request=np.arange(n),
        client=np.zeros(n, dtype=int),
        arrival_s=np.arange(n, dtype=float),
        done_s=np.where(outcome <= Outcome.LATE, np.arange(n) + 0.5, np.nan),
        outcome=outcome,
        reason=np.where(outcome <= Outcome.LATE, Reason.NONE, Reason.LOST).astype(np.int8),
        epoch=np.array(epochs),
        replays=np.zeros(n, dtype=int),
        counted=np.ones(n, dtype=bool),
    )


def test_the_first_of_each_epoch_is_checked_and_five_in_all():
    rows = chosen(requests_of([0] * 10 + [1] * 10 + [3] * 20), seed=1)
    assert {0, 10, 20} <= set(rows.tolist())
    assert len(rows) == LEAST
    assert rows.tolist() == sorted(set(rows.tolist()))


def test_requests_without_an_answer_are_not_checked():
    outcomes = [Outcome.FAILED, Outcome.DROPPED, Outcome.LATE, *[Outcome.OK] * 3]
    rows = chosen(requests_of([0, 0, 0, 0, 1, 1], outcomes), seed=1)
    assert rows.tolist() == [2, 3, 4, 5]
    assert chosen(requests_of([]), seed=1).tolist() == []


def test_one_percent_of_many_is_checked_and_the_seed_says_which():
    many = requests_of([0] * 20_000)
    rows = chosen(many, seed=1)
    assert abs(len(rows) - SHARE * 20_000) < 4 * np.sqrt(SHARE * 20_000)
    assert np.array_equal(rows, chosen(many, seed=1))
    assert not np.array_equal(rows, chosen(many, seed=2))
    # The choice of a request does not depend on how many there are.
    assert set(chosen(requests_of([0] * 10_000), seed=1)) == set(rows[rows < 10_000])


def test_each_replication_is_checked_on_its_own():
    first, second = requests_of([0] * 30), requests_of([0] * 30, replication=1)
    rows = chosen(Requests.concatenate([first, second]), seed=1)
    assert len(rows) == 2 * LEAST
    assert {0, 30} <= set(rows.tolist())
    assert set(rows[rows >= 30] - 30) != set(rows[rows < 30])


@given(
    order=st.integers(0, 300).flatmap(lambda n: st.permutations(range(n))),
    n_epochs=st.integers(1, 12),
    seed=st.integers(0, 50),
)
@settings(max_examples=60, deadline=None)
def test_the_answers_that_are_asked_for_were_kept_and_few_others(order, n_epochs, seed):
    epochs = [request * n_epochs // max(len(order), 1) for request in range(len(order))]
    keeper: Keeper[str] = Keeper(seed, 0)
    for request in order:
        keeper.offer(request, epochs[request], f"answer {request}")
    rows = chosen(requests_of(epochs), seed)
    assert set(rows.tolist()) <= set(keeper.answers)
    assert len(keeper.answers) <= len(rows) + LEAST
    assert all(keeper.answers[request] == f"answer {request}" for request in keeper.answers)


def test_what_is_kept_of_a_long_run_is_one_percent():
    keeper: Keeper[None] = Keeper(3, 0)
    for request in range(10_000):
        keeper.offer(request, 0, None)
    assert 60 < len(keeper.answers) < 140


@pytest.fixture(scope="module")
def toy():
    torch.manual_seed(1)
    return Residual().eval()


@pytest.fixture(scope="module")
def pool():
    return random_pool(SHAPE, 4, 3)


def test_the_answers_of_a_split_pass_with_no_tolerance(toy, pool):
    traced = trace(toy, "toy", SHAPE)
    checker = Checker(toy, pool, 0.0)
    for request in range(5):
        (answer,) = run_apart(split(traced, thirds(len(traced.graph), 3)), pool.of(request))
        assert checker.check(1, request, 2, answer) == Verdict(1, request, 2, True, 0.0, 0.0)


def test_the_answer_to_another_input_is_a_mismatch(toy, pool):
    checker = Checker(toy, pool, TOLERANCE)
    verdict = checker.check(0, 0, 0, checker.expected(1))
    assert not verdict.ok
    assert verdict.difference > 100 * TOLERANCE
    assert checker.check(0, 3, 0, checker.expected(0)).ok
    assert verdict.to_json() == {
        "replication": 0,
        "request": 0,
        "epoch": 0,
        "ok": False,
        "difference": verdict.difference,
        "tolerance": TOLERANCE,
    }


def test_one_bit_counts_where_kernels_are_the_same_and_the_tolerance_ends_where_it_says(toy, pool):
    exact, near = Checker(toy, pool, 0.0), Checker(toy, pool, TOLERANCE)
    answer = exact.expected(0).clone()
    largest = float(answer.abs().max())
    flat = answer.reshape(-1)
    position = int(flat.abs().argmin())
    flat[position] = torch.nextafter(flat[position], torch.tensor(9e9))
    assert not exact.check(0, 0, 0, answer).ok
    assert near.check(0, 0, 0, answer).ok
    flat[position] = exact.expected(0).reshape(-1)[position] + 0.9 * TOLERANCE * largest
    assert near.check(0, 0, 0, answer).ok
    flat[position] = exact.expected(0).reshape(-1)[position] + 1.1 * TOLERANCE * largest
    assert not near.check(0, 0, 0, answer).ok


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(1, 4), torch.zeros(5), torch.zeros(1, 5).double(), torch.tensor([[0.0, 0.0, torch.nan, 0.0, 0.0]])],
)
def test_another_shape_or_type_or_no_number_is_a_mismatch_without_difference(toy, pool, wrong):
    verdict = Checker(toy, pool, TOLERANCE).check(0, 0, 0, wrong)
    assert (verdict.ok, verdict.difference) == (False, None)


def test_a_difference_by_hand():
    expected = torch.tensor([[1.0, -4.0, 2.0]])
    assert difference(torch.tensor([[1.5, -4.0, 1.0]]), expected) == 0.25
    assert difference(expected, expected) == 0.0
    assert difference(torch.tensor([0.5]), torch.tensor([0.0])) == 0.5


def test_checking_leaves_threads_and_inputs_as_they_were(toy, pool):
    before, inputs = torch.get_num_threads(), [tensor.clone() for tensor in pool.tensors]
    Checker(toy, pool, 0.0, threads=2).expected(0)
    assert torch.get_num_threads() == before
    assert all(torch.equal(a, b) for a, b in zip(pool.tensors, inputs, strict=True))


def test_nothing_is_tolerated_between_equal_machines_only():
    here = Kernels.here(threads=2)
    assert tolerance([here, Kernels.here(threads=2)]) == 0.0
    for other in (
        replace(here, threads=1),
        replace(here, processor="aarch64 Raspberry Pi 5"),
        replace(here, accelerator="a GPU"),
        replace(here, torch="2.3.0"),
        replace(here, cores=here.cores + 1),
    ):
        assert tolerance([here, here, other]) == TOLERANCE


def test_a_mismatch_fails_its_request_and_no_other():
    first, second = requests_of([0, 0, 1]), requests_of([0, 0, 1], [Outcome.OK, Outcome.LATE, Outcome.FAILED], 1)
    before = Requests.concatenate([first, second])
    verdicts = [Verdict(0, 0, 0, True, 0.0, 0.0), Verdict(0, 2, 1, False, 0.5, 0.0), Verdict(1, 1, 0, False, None, 0.0)]
    after = failed(before, verdicts)
    ok, late, lost = Outcome.OK, Outcome.LATE, Outcome.FAILED
    assert before.outcome.tolist() == [ok, ok, ok, ok, late, lost]
    assert after.outcome.tolist() == [ok, ok, Outcome.FAILED, ok, Outcome.FAILED, lost]
    none, wrong = Reason.NONE, Reason.MISMATCH
    assert after.reason.tolist() == [none, none, wrong, none, wrong, Reason.LOST]
    assert after.completed.tolist() == [True, True, False, True, False, False]
    assert after.outcome.dtype == before.outcome.dtype
    assert np.array_equal(after.done_s, before.done_s, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_tolerance_lies_between_other_kernels_and_other_inputs(name):
    """Another number of threads and float64 stay a factor of 10 below it, other inputs 30 above."""
    model, pool = build_model(name), random_pool((1, 3, 224, 224), 5, 3)
    one, two = (Checker(model, pool, TOLERANCE, threads) for threads in (1, 2))
    with torch.inference_mode():
        precise = build_model(name).double()(pool.of(0).double()).float()
    for same in (two.expected(0), precise):
        assert difference(same, one.expected(0)) < TOLERANCE / 10
    for other in (1, 2):
        assert difference(one.expected(other), one.expected(0)) > 30 * TOLERANCE

"""The engine's waiting times against queueing theory, over 20 seeds."""

from __future__ import annotations

import numpy as np
import pytest
from players import one_station

from twin.workload import stream

SERVICE_S = 0.01
RHO = 0.6
REQUESTS = 4_000
WARM_UP = 400
SEEDS = 20
T_999 = 3.883
"""Student's t for a two-sided 99.9 % interval with 19 degrees of freedom."""


def exponential(seed):
    random = stream(seed, 0, purpose=77)
    return lambda device, request, nominal_s: random.exponential(SERVICE_S)


def constant(seed):
    return lambda device, request, nominal_s: SERVICE_S


def mean_waits_s(make_service, factor=1.0):
    """Mean wait of each seed's run; the runs are the batches."""
    waits = []
    for seed in range(SEEDS):
        service = make_service(seed)
        result = one_station(
            RHO / SERVICE_S,
            REQUESTS,
            lambda d, r, nominal_s, service=service: factor * service(d, r, nominal_s),
            seed=seed,
        )
        spans = result.spans
        service_s = np.zeros(REQUESTS)
        compute = spans.where(spans.kind == 2)
        service_s[compute.request] = compute.end_s - compute.start_s
        waits.append((result.requests.latency_s - service_s)[WARM_UP:].mean())
    return np.array(waits)


def agrees(waits_s, expected_s):
    half_width_s = T_999 * waits_s.std(ddof=1) / np.sqrt(SEEDS)
    return abs(waits_s.mean() - expected_s) <= half_width_s


@pytest.mark.parametrize(
    ("make_service", "expected_s"),
    [
        (exponential, RHO * SERVICE_S / (1 - RHO)),  # M/M/1: W = rho s / (1 - rho)
        (constant, RHO * SERVICE_S / (2 * (1 - RHO))),  # M/D/1: half of it (Pollaczek-Khinchine)
    ],
    ids=["M/M/1", "M/D/1"],
)
def test_mean_wait(make_service, expected_s):
    assert agrees(mean_waits_s(make_service), expected_s)


def test_a_service_time_wrong_by_five_percent_is_caught():
    expected_s = RHO * SERVICE_S / (2 * (1 - RHO))
    assert not agrees(mean_waits_s(constant, factor=1.05), expected_s)


def test_littles_law():
    result = one_station(RHO / SERVICE_S, REQUESTS, exponential(3), seed=3)
    requests = result.requests
    end_s = requests.done_s.max()
    events = np.concatenate([requests.arrival_s, requests.done_s])
    change = np.concatenate([np.ones(REQUESTS), -np.ones(REQUESTS)])
    order = np.argsort(events, kind="stable")
    in_system = np.cumsum(change[order])[:-1]
    mean_in_system = np.sum(in_system * np.diff(events[order])) / end_s
    assert mean_in_system == pytest.approx(REQUESTS / end_s * requests.latency_s.mean(), rel=1e-9)

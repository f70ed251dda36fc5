"""How long requests wait for each other: the sojourn time that a plan leads to under load.

`cost.predict` costs one request that meets no other. Here the demand is taken into account, by textbook formulas that
need nothing but the mean rate and the service times:

- Open loop: every station is treated on its own, as if requests came to it as a Poisson process. A station that serves
  one at a time is an M/G/1 queue, whose mean wait is the Pollaczek-Khinchine formula
  `lambda * E[S^2] / (2 * (1 - rho))` (Kleinrock 1975, Queueing Systems I, section 5.6). The service times are those of
  the plan, without spread, so that a station that is visited once is an M/D/1 queue. Of a station with `c` slots the
  wait is half that of an M/M/c queue (Erlang C), the approximation of Allen and Cunneen for service without spread
  (Allen 1990, Probability, Statistics, and Queueing Theory, section 6.2.3).
- Closed loop: the asymptotic bound `max(L, clients * bottleneck - think time)` (Denning and Buzen 1978, ACM Computing
  Surveys 10; Lazowska et al. 1984, Quantitative System Performance, chapter 5). It is exact for one client.

Behind a station with constant service requests come more evenly than a Poisson process, and periodic arrivals do so
from the start: there the open-loop figure is too high rather than too low.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.cost import Prediction
    from twin.problem import Problem


def sojourn_s(problem: Problem, prediction: Prediction) -> float:
    """Mean time from arrival to answer under the problem's demand, waiting included.

    Args:
        problem: Gives the demand, the slots of the devices and the duplex of the links.
        prediction: What a plan costs a request that meets no other.

    Returns:
        Seconds; infinite where a station is asked for more than it can serve, or a link has no rate.
    """
    demand = problem.demand
    if math.isinf(prediction.latency_s):
        return math.inf
    if demand.rate_rps is None:
        return max(prediction.latency_s, demand.clients * prediction.bottleneck_s - demand.think_time_s)
    return prediction.latency_s + sum(
        len(services_s) * wait_s(demand.rate_rps, services_s, slots) for slots, services_s in prediction.queues
    )


def wait_s(rate_rps: float, services_s: Sequence[float], slots: int = 1) -> float:
    """Mean wait of each visit to a station that every request visits once per service time.

    Args:
        rate_rps: Requests per second, as a Poisson process.
        services_s: Service time of each visit of one request.
        slots: How many visits the station serves at once.

    Returns:
        Seconds per visit; infinite where the station is asked for as much as it can serve or more.
    """
    sum_s, spread = sum(services_s), rate_rps * sum([x * x for x in services_s])
    return _wait_s(rate_rps * sum_s / slots, spread, sum_s / len(services_s), slots)


def _wait_s(rho: float, spread: float, mean_s: float, slots: int) -> float:
    """Mean wait given the utilisation, `lambda * E[S^2]` of all visits together and the mean service time."""
    if rho == 0:
        return 0.0
    if rho >= 1:
        return math.inf
    if slots == 1:
        return spread / (2 * (1 - rho))
    return erlang_c(slots, rho) * mean_s / (slots * (1 - rho)) / 2


def luck_s(problem: Problem, prediction: Prediction, horizon_s: float) -> float:
    """Mean wait that Poisson arrivals add to regular ones within a time, from empty queues; finite under overload too.

    The wait of an M/G/1 queue, but no more than has built up in the time. By diffusion the work that waits at a station
    at critical load is a reflected Brownian motion of variance `lambda * E[S^2]` per second, whose mean at time t is
    `sqrt(2 * lambda * E[S^2] * t / pi)` (Harrison 1985, Brownian Motion and Stochastic Flow Systems, chapter 1), and
    two thirds of its last value on average. Growth by overload itself is not luck and not in it. Both limits are exact;
    between them, near critical load, the lesser of the two is too high, by about half at most.

    Args:
        problem: Gives the demand, the slots of the devices and the duplex of the links.
        prediction: What a plan costs a request that meets no other.
        horizon_s: Length of the time.

    Returns:
        Seconds per request; 0 in a closed loop, and for a plan that never ends anyway.
    """
    return luck_and_growth_s(problem, prediction, horizon_s)[0]


def growth_s(problem: Problem, prediction: Prediction, horizon_s: float) -> float:
    """Mean wait that overload builds up within a time, from empty queues.

    The work that waits at a station asked for `rho > 1` grows by `rho - 1` seconds per second; its mean is half of its
    last value. Of several such stations the busiest counts: one after the other lets no more through than it can serve,
    so that a request that comes at time t leaves the last of them at t times the largest `rho`.

    Args:
        problem: Gives the demand, the slots of the devices and the duplex of the links.
        prediction: What a plan costs a request that meets no other.
        horizon_s: Length of the time.

    Returns:
        Seconds per request; 0 in a closed loop, and for a plan that never ends anyway.
    """
    return luck_and_growth_s(problem, prediction, horizon_s)[1]


def luck_and_growth_s(problem: Problem, prediction: Prediction, horizon_s: float) -> tuple[float, float]:
    """What `luck_s` and `growth_s` give, in one go over the stations."""
    total_s = most = 0.0
    rate_rps = problem.demand.rate_rps
    if rate_rps is None or not math.isfinite(prediction.latency_s):
        return total_s, most
    for slots, services_s in prediction.queues:
        if len(services_s) == 1:  # as nearly always; the same without lists
            n, sum_s = 1, services_s[0]
            spread = rate_rps * (sum_s * sum_s)
        else:
            n, sum_s = len(services_s), sum(services_s)
            spread = rate_rps * sum([x * x for x in services_s])
        rho = rate_rps * sum_s / slots
        grown_s = 2 / 3 * math.sqrt(2 * spread * horizon_s / math.pi) / slots
        settled_s = spread / (2 * (1 - rho)) if slots == 1 and 0 < rho < 1 else _wait_s(rho, spread, sum_s / n, slots)
        total_s += n * (min(settled_s, grown_s))
        most = max(most, n * (rho - 1))
    return total_s, most * horizon_s / 2


def behind_s(backlog_s: float, rho: float, horizon_s: float) -> float:
    """Mean wait behind work that is there already, of requests that come evenly within a time.

    Args:
        backlog_s: Work that is there, in seconds.
        rho: Utilisation by those requests; the rest of the time the backlog drains.
        horizon_s: Length of the time.
    """
    drained_s = max(1 - rho, 0.0) * horizon_s
    if drained_s > backlog_s:
        return backlog_s**2 / (2 * drained_s)
    return backlog_s - drained_s / 2


def erlang_c(slots: int, rho: float) -> float:
    """Probability that a visit to an M/M/c queue has to wait (Erlang 1917), by the recursion of Erlang B.

    Args:
        slots: Number of servers, c.
        rho: Utilisation of each, below 1.
    """
    offered = slots * rho
    blocked = 1.0
    for servers in range(1, slots + 1):
        blocked = offered * blocked / (servers + offered * blocked)
    return blocked / (1 - rho * (1 - blocked))

"""When requests arrive."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from twin.errors import ScenarioError
from twin.problem import Demand

if TYPE_CHECKING:
    from collections.abc import Callable

WorkloadKind = Literal["closed", "periodic", "poisson", "replay"]

ARRIVALS = 0
"""Number of the random stream of arrivals; `stream` numbers the others."""
SERVICE = 1
"""Number of the random stream of service times."""

_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Workload:
    """How requests arrive and when they end.

    Attributes:
        kind: `closed` (clients that wait for their answer), `periodic`, `poisson` or `replay`.
        rate_rps: Mean arrival rate of `periodic` and `poisson`.
        clients: Number of clients of `closed`.
        think_time_s: Pause of a client between an answer and its next request.
        times_s: Arrival times of `replay`, ascending.
        requests: Number of requests after which arrivals end, or None.
        duration_s: Time after which arrivals end, or None.
        warm_up_s: Requests that arrive before this time are not counted.
        warm_up_requests: So many first requests are not counted.
    """

    kind: WorkloadKind
    rate_rps: float | None = None
    clients: int = 0
    think_time_s: float = 0.0
    times_s: np.ndarray | None = None
    requests: int | None = None
    duration_s: float | None = None
    warm_up_s: float = 0.0
    warm_up_requests: int = 0

    @property
    def demand(self) -> Demand:
        """What a policy is told of the arrivals: their mean rate, or the clients."""
        if self.kind == "closed":
            return Demand(None, self.clients, self.think_time_s)
        if self.kind == "replay":
            times_s = self._until_end(self._replayed())
            if len(times_s) == 0:
                return Demand(0.0)
            span_s = self.duration_s
            if span_s is None or len(times_s) == self.requests:
                span_s = float(times_s[-1])
            return Demand(len(times_s) / span_s if span_s > 0 else float(len(times_s)))
        return Demand(self.rate_rps)

    def arrivals_s(self, seed: int, replication: int) -> np.ndarray:
        """Arrival times of an open-loop workload, ascending, shape [n_requests].

        Raises:
            ScenarioError: The workload is a closed loop, whose arrivals depend on the answers, or never ends.
        """
        if self.kind == "closed":
            raise ScenarioError("workload: a closed loop has no arrival times of its own")
        if self.kind == "replay":
            return self._until_end(self._replayed())
        if self.requests is None and self.duration_s is None:
            raise ScenarioError("workload: never ends; give `requests` or `duration_s`")
        assert self.rate_rps is not None  # noqa: S101 - the scenario schema asks for it
        if self.kind == "periodic":
            by_time = np.inf if self.duration_s is None else np.ceil(self.duration_s * self.rate_rps) + 1
            n = int(min(by_time, np.inf if self.requests is None else self.requests))
            return self._until_end(np.arange(n) / self.rate_rps)
        return self._until_end(self._poisson(seed, replication, self.rate_rps))

    def _poisson(self, seed: int, replication: int, rate_rps: float) -> np.ndarray:
        """Exponential gaps, drawn in blocks so that a longer run starts with the same arrivals."""
        random = stream(seed, replication, ARRIVALS)
        blocks: list[np.ndarray] = []
        last_s, n = 0.0, 0
        while (self.requests is None or n < self.requests) and (self.duration_s is None or last_s < self.duration_s):
            blocks.append(last_s + np.cumsum(random.exponential(1.0 / rate_rps, _BLOCK)))
            last_s = float(blocks[-1][-1])
            n += _BLOCK
        return np.concatenate(blocks) if blocks else np.empty(0)

    def _until_end(self, times_s: np.ndarray) -> np.ndarray:
        if self.duration_s is not None:
            times_s = times_s[times_s < self.duration_s]
        return times_s if self.requests is None else times_s[: self.requests]

    def _replayed(self) -> np.ndarray:
        if self.times_s is None or len(self.times_s) == 0:
            raise ScenarioError("workload: a replay needs at least one arrival time")
        return self.times_s


def stream(seed: int, replication: int, purpose: int, index: int = 0) -> np.random.Generator:
    """A random stream of its own for each purpose, so that drawing from one never shifts another."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, replication, purpose, index])))


class ServiceNoise:
    """One multiplicative factor per stage visit, log-normal with mean 1, keyed by (seed, device, request).

    Every policy meets the same factor for the same request on the same device.

    Args:
        sigma: Standard deviation of the logarithm by device, shape [n_devices].
        seed: The run's seed.
        replication: Number of the replication.
    """

    def __init__(self, sigma: np.ndarray, seed: int, replication: int) -> None:
        self._sigma: list[float] = sigma.tolist()
        self._streams = [stream(seed, replication, SERVICE, device) for device in range(len(sigma))]
        self._factors = [array("d") for _ in sigma]

    def factor(self, device: int, request: int) -> float:
        """Factor of one stage visit."""
        if self._sigma[device] == 0:
            return 1.0
        factors = self._factors[device]
        if request >= len(factors):
            self._draw(device, request)
        return factors[request]

    def of(self, device: int) -> Callable[[int], float] | None:
        """What `factor` gives for a device, as a function of the request; None where the device does not vary."""
        if self._sigma[device] == 0:
            return None
        factors = self._factors[device]

        def factor(request: int) -> float:
            if request >= len(factors):
                self._draw(device, request)
            return factors[request]

        return factor

    def factors(self, device: int, requests: np.ndarray) -> np.ndarray | float:
        """Factors of many stage visits, shape [n]; the number 1 where a device does not vary."""
        if self._sigma[device] == 0:
            return 1.0
        self._draw(device, int(requests.max(initial=0)))
        return np.asarray(np.frombuffer(self._factors[device])[requests])

    def _draw(self, device: int, request: int) -> None:
        """Draw, block by block, until the factor of a request is known."""
        factors, sigma = self._factors[device], self._sigma[device]
        n_blocks = request // _BLOCK + 1 - len(factors) // _BLOCK
        if n_blocks > 0:
            normal = self._streams[device].standard_normal(n_blocks * _BLOCK)
            factors.frombytes(np.exp(sigma * normal - sigma**2 / 2).tobytes())

"""How a visit to a stage is made as slow as the device of the scenario."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from hardware.emulation.moments import RunTime, sleep_until
from twin.errors import EmulationError
from twin.workload import ServiceNoise
from twin.world import faulted_rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.steps import Steps
    from twin.world import World

T = TypeVar("T")

SpeedKind = Literal["factor", "profile", "sleep"]
"""`factor` computes and then sleeps by the load; `profile` computes and then sleeps until the profiled time has passed;
`sleep` computes nothing and sleeps for all of it."""


_AWAKE_S = 1e-4
"""About as long as a system takes to wake a thread; stages take milliseconds, so that this costs few of them."""


@dataclass(frozen=True, slots=True)
class Visit(Generic[T]):
    """One visit to a stage, in moments of the monotonic clock.

    Attributes:
        result: What was computed.
        start_s: When it began.
        end_s: When it ended, the sleep included.
        computed_s: Seconds that computing took.
        due_s: When it should have ended; where the next visit waits already, it starts at this moment.
        late_s: Seconds by which it ended later than it should have, because computing took longer or the system woke
            it late.
    """

    result: T
    start_s: float
    end_s: float
    computed_s: float
    due_s: float
    late_s: float


class Speed:
    """The speed of one emulated device.

    Args:
        kind: How it is made slow.
        load: Rate of work over run time, 1 / slowdown, with the scenario's faults in it.
        noise: Factor of the stage visit of a request; not used by `factor`, which keeps the variation of the host.
    """

    def __init__(self, kind: SpeedKind, load: Steps, noise: Callable[[int], float] = lambda _: 1.0) -> None:
        self.kind = kind
        self._load = load
        self._noise = noise

    @classmethod
    def from_world(cls, world: World, device: int, kind: SpeedKind, replication: int) -> Speed:
        """The speed of a device of a scenario, with the luck that the twin gives it too."""
        noise = ServiceNoise(world.dispersion, world.seed, replication)
        return cls(kind, faulted_rates(world)[device], lambda request: noise.factor(device, request))

    def visit(
        self,
        compute: Callable[[], T],
        nominal_s: float,
        request: int,
        t0_s: float | None,
        *,
        start_s: float | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Visit[T]:
        """Compute a stage and take as long over it as the device would.

        Args:
            compute: Computes it; for `sleep`, makes something of the right shape and cheaply.
            nominal_s: Seconds of work by the device's profile.
            request: Number of the request, which decides its luck.
            t0_s: Moment of run time 0, or None before the run has started.
            start_s: When the device was free and the work was there, if that is known; by default now. With it what a
                system is late by in waking one visit is not passed on to the next.
            stop: Ends the visit within 0.1 s once it returns True.

        Raises:
            EmulationError: It was stopped.
        """
        now_s = time.monotonic()
        start_s = now_s if start_s is None else min(start_s, now_s)
        result = compute()
        computed_s = time.monotonic() - now_s
        work_s = computed_s if self.kind == "factor" else nominal_s * self._noise(request)
        due_s = RunTime(t0_s).finish(self._load, start_s, work_s)
        if not sleep_until(due_s, stop or _never, awake_s=_AWAKE_S):
            raise EmulationError(f"request {request}: stopped in the middle of a stage")
        end_s = time.monotonic()
        return Visit(result, start_s, end_s, computed_s, due_s, end_s - due_s)


def _never() -> bool:
    return False

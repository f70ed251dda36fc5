"""What whoever leads a run asks of the machine that it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hardware.edge.plan import EdgePlan
    from hardware.edge.report import Report
    from twin.problem import Probe


class Site(Protocol):
    """What the machine at the edge does for its conductor."""

    def send(self, request: int, attempt: int, plan: EdgePlan) -> None:
        """Put a request on its way."""
        ...

    def announce(self, plan: EdgePlan, devices: tuple[int, ...]) -> None:
        """Tell machines to prepare a plan."""
        ...

    def probe(self, probe: Probe, epoch: int) -> None:
        """Let a machine measure a link or a stage."""
        ...

    def report(self) -> Report:
        """How things stand on this machine, with its measurements since the last report."""
        ...

    def held(self, request: int, epoch: int, start_s: float, end_s: float) -> None:
        """Note that a request was held back, in run time."""
        ...

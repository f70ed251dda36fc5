"""What breaks in a run: who notices when, and what was caught there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twin.engine.events import Play
    from twin.engine.plan import Visit
    from twin.world import Fault

FAULT_RANK = 0
_LEAST_RETRY_S = 1e-3


class Faults:
    """Notices what is lost, and takes off it what was caught there.

    What is lost for less than the detection time goes unnoticed: work waits and goes on.

    Attributes:
        lost_devices: Devices known to be lost, once for each loss.
        lost_links: Links known to be lost, likewise.
        any_lost: Whether anything is known to be lost.
        pending: Number of losses that are still to be noticed.
        retry_s: Time after which what was lost is tried again.

    Args:
        play: The run.
    """

    def __init__(self, play: Play) -> None:
        self._play = play
        self.lost_devices: list[int] = []
        self.lost_links: list[int] = []
        self.any_lost = False
        self.pending = 0
        self.retry_s = max(play.world.detect_s, _LEAST_RETRY_S)

    def start(self) -> None:
        """Schedule when each loss is noticed and when what was lost is back."""
        detect_s = self._play.world.detect_s
        for fault in self._play.world.faults:
            noticed_s = fault.start_s + detect_s
            if fault.kind in ("link_down", "device_down") and noticed_s < fault.end_s:
                self.pending += 1
                self._play.clock.call_at(noticed_s, FAULT_RANK, self._notice, fault, noticed_s)

    def lost(self, visit: Visit) -> bool:
        """Whether the station of a visit is known to be lost."""
        if visit.device >= 0:
            return visit.device in self.lost_devices
        link = self._play.problem.continuum.links[visit.link]
        return visit.link in self.lost_links or link.a in self.lost_devices or link.b in self.lost_devices

    def _notice(self, fault: Fault, now_s: float) -> None:
        play = self._play
        self.pending -= 1
        known = self.lost_links if fault.kind == "link_down" else self.lost_devices
        known.append(fault.target)
        self.any_lost = True
        caught = [job for station in self._lost_stations(fault) for job in play.stations[station].clear(now_s)]
        play.ticker.tick(now_s)
        for job in sorted(caught, key=lambda job: job.request):
            play.caught(job, now_s)
        play.clock.call_at(fault.end_s, FAULT_RANK, self._back, fault, known, fault.end_s)

    def _back(self, fault: Fault, known: list[int], now_s: float) -> None:
        known.remove(fault.target)
        self.any_lost = bool(self.lost_devices or self.lost_links)
        self._play.ticker.tick(now_s)

    def _lost_stations(self, fault: Fault) -> list[int]:
        n = self._play.problem.n_devices
        links = enumerate(self._play.problem.continuum.links)
        if fault.kind == "link_down":
            return [n + 2 * fault.target, n + 2 * fault.target + 1]
        attached = [position for position, link in links if fault.target in (link.a, link.b)]
        return [fault.target, *(n + 2 * link + direction for link in attached for direction in (0, 1))]

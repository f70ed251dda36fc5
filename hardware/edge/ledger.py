"""Every request of a run, from its arrival to the one way in which it ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twin.columns import RequestColumns
from twin.records import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.edge.clock import RunClock
    from hardware.edge.picture import Picture
    from hardware.edge.plan import EdgePlan
    from hardware.edge.presence import Place, Presence
    from hardware.edge.site import Site
    from hardware.edge.switching import Switch
    from twin.control import Controller

_RANK = 0


class Ledger:
    """Sends requests, holds them back while the partition changes, and sends again once what was lost.

    Attributes:
        requests: The requests so far.
        sent: The plan of each request that was sent and has not ended.
        duplicates: Answers that came when their request had ended already; they change nothing.

    Args:
        clock: Run time.
        controller: Knows the plan epoch that was decided on last.
        presence: Knows what is lost.
        switch: Knows the plan in force.
        picture: Is told of requests that end.
        site: Sends them.
        deadline_s: Latency above which an answer is late; None if none is.
        on_end: Called when a request has ended, with its number, run time and the reason.
    """

    def __init__(
        self,
        clock: RunClock,
        controller: Controller,
        presence: Presence,
        switch: Switch,
        picture: Picture,
        site: Site,
        *,
        deadline_s: float | None,
        on_end: Callable[[int, float, Reason], None],
    ) -> None:
        self.requests = RequestColumns()
        self.sent: dict[int, EdgePlan] = {}
        self.duplicates = 0
        self._clock, self._controller, self._presence, self._switch = clock, controller, presence, switch
        self._picture, self._site, self._deadline_s, self._on_end = picture, site, deadline_s, on_end
        self._held: dict[int, float] = {}
        self._downtimes = 0
        self._closed = False

    def release(self, request: int, now_s: float) -> None:
        """Send a request on its way, or hold it back while the partition changes."""
        plan = self._switch.plan
        if plan is None or self._downtimes or self._switch.holds(self._presence.lost):
            self._held[request] = now_s
            return
        self.requests.epoch[request] = plan.epoch
        self.sent[request] = plan
        if plan.uses & self._presence.lost:
            self.lost(request, self.requests.replays[request])
        else:
            self._site.send(request, self.requests.replays[request], plan)

    def answered(self, request: int, now_s: float, limit_s: float) -> bool:
        """An answer is there; False if its request has ended already, or the run, or if it comes after `limit_s`.

        What was lost on its way to the edge and waits to be sent again may be answered all the same.
        """
        is_open = request in self.sent or (request in self._held and self.requests.replays[request] > 0)
        if self._closed or not is_open or now_s > limit_s:
            self.duplicates += not is_open
            return False
        late = self._deadline_s is not None and now_s - self.requests.arrival_s[request] > self._deadline_s
        self._end(request, now_s, Outcome.LATE if late else Outcome.OK)
        return True

    def lost(self, request: int, attempt: int) -> None:
        """A request cannot go on: it is sent once more, on the plan then in force, and fails if that is lost too."""
        if self._closed or not self._is_under_way(request, attempt):
            return
        now_s = self._clock.now_s
        if attempt == 0:
            del self.sent[request]
            self.requests.replays[request] = 1
            self.release(request, now_s)
            # A change that waits for what is under way waits for one less.
            self._switch.review(now_s, len(self.sent))
        else:
            self._end(request, now_s, Outcome.FAILED, Reason.LOST)

    def lost_with(self, places: frozenset[Place]) -> None:
        """Whatever was sent by way of these places cannot go on."""
        for request in sorted(request for request, plan in self.sent.items() if plan.uses & places):
            self.lost(request, self.requests.replays[request])

    def dropped(self, request: int, attempt: int, now_s: float) -> None:
        """A queue had no room for a request."""
        if self._is_under_way(request, attempt):
            self._end(request, now_s, Outcome.DROPPED, Reason.QUEUE_LIMIT)

    def plan_active(self, held_until_s: float) -> None:
        """A plan has come into force: what was held back is sent, at once or when the downtime is over."""
        if held_until_s > self._clock.now_s:
            self._downtimes += 1
            self._clock.call_at(held_until_s, _RANK, self._up_again)
        else:
            self._flush()

    def close(self) -> None:
        """Let every request be as it is."""
        self._closed = True

    def _is_under_way(self, request: int, attempt: int) -> bool:
        return request in self.sent and attempt == self.requests.replays[request]

    def _up_again(self) -> None:
        self._downtimes -= 1
        self._flush()

    def _flush(self) -> None:
        """Send what was held back, unless a downtime lasts."""
        if self._downtimes:
            return
        held, self._held = self._held, {}
        now_s = self._clock.now_s
        for request, since_s in held.items():
            self._site.held(request, self._controller.epoch, since_s, now_s)
            self.release(request, now_s)

    def _end(self, request: int, now_s: float, outcome: Outcome, reason: Reason = Reason.NONE) -> None:
        answered = outcome <= Outcome.LATE
        self.requests.end(request, now_s if answered else math.nan, outcome, reason)
        latency_s = now_s - self.requests.arrival_s[request] if answered else math.nan
        self._picture.ended(now_s, request, self.requests.epoch[request], latency_s)
        self.sent.pop(request, None)
        if request in self._held:
            self._site.held(request, self._controller.epoch, self._held.pop(request), now_s)
        self._on_end(request, now_s, reason)

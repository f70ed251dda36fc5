"""What a machine tells the edge: measurements since its last report, and how things stand there."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twin.topology import Continuum

_WIDTHS = {"lanes": 3, "open": 4, "links": 5, "stages": 3, "failed": 2, "dropped": 2, "plans": 2}
_WHOLE = ("lanes", "failed", "dropped", "plans")


@dataclass(frozen=True, slots=True)
class Report:
    """All times are on the sender's monotonic clock.

    Attributes:
        device: Who reports.
        queue: Jobs that wait or are served there.
        lanes: Messages waiting or being sent: rows of link, direction, number.
        open: What is under way: rows of link (or -1 for work), direction (or device), bytes (or profiled seconds),
            when it began.
        links: Messages that were received: rows of when the receipt came, link, direction, bytes, transfer time.
        stages: Stage visits that ended: rows of when, profiled time, measured time.
        failed: Requests that cannot go on: rows of request, attempt.
        dropped: Requests for which the queue had no room: rows of request, attempt.
        silent: Links whose other end is not heard.
        plans: Plans that it was told of: rows of plan epoch, and 1 where it is ready, else 0.
    """

    device: int
    queue: int
    lanes: list[list[int]] = field(default_factory=list)
    open: list[list[float]] = field(default_factory=list)
    links: list[list[float]] = field(default_factory=list)
    stages: list[list[float]] = field(default_factory=list)
    failed: list[list[int]] = field(default_factory=list)
    dropped: list[list[int]] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    plans: list[list[int]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """Build a report from the plain data that `to_json` returns.

        Raises:
            TransportError: It is no report.
        """
        try:
            rows = {name: [_row(row, width) for row in data[name]] for name, width in _WIDTHS.items()}
            whole = {name: [[int(x) for x in row] for row in rows[name]] for name in _WHOLE}
            return cls(
                device=int(data["device"]),
                queue=int(data["queue"]),
                lanes=whole["lanes"],
                open=rows["open"],
                links=rows["links"],
                stages=rows["stages"],
                failed=whole["failed"],
                dropped=whole["dropped"],
                silent=[int(x) for x in data["silent"]],
                plans=whole["plans"],
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise TransportError(
                f"a report that is none arrived ({error!r}); use one version on every machine"
            ) from error

    def check(self, continuum: Continuum) -> None:
        """Refuse a report of machines or links that the scenario does not have.

        Raises:
            TransportError: It speaks of such.
        """
        n_devices, n_links = len(continuum), len(continuum.links)
        lanes = [(row[0], row[1]) for row in self.lanes]
        lanes += [(int(row[1]), int(row[2])) for row in self.links]
        lanes += [(int(row[0]), int(row[1])) for row in self.open if row[0] >= 0]
        devices = [self.device, *(int(row[1]) for row in self.open if row[0] < 0)]
        fits = all(0 <= device < n_devices for device in devices)
        fits &= all(0 <= link < n_links and direction in (0, 1) for link, direction in lanes)
        if not fits or self.queue < 0:
            raise TransportError(
                f"a report speaks of machines or links that the scenario does not have ({self}); use one version and "
                "one scenario on every machine"
            )


def _row(row: list[float], width: int) -> list[float]:
    if isinstance(row, str) or len(row) != width:
        raise ValueError(f"{row!r} where {width} numbers belong")
    numbers = [float(x) for x in row]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{row!r} holds what is no number")
    return numbers

"""The links of one machine: lanes for parcels that it sends, lines for control, and what is passed on for others."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hardware.transport.lane import Lane
from hardware.transport.line import Line
from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hardware.transport.credentials import Credentials
    from hardware.transport.hub import Hub
    from hardware.transport.lane import Receipt
    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Parcel
    from twin.topology import Continuum, Hop

MOST_BACKLOG_BYTES = 64_000_000
"""Bytes waiting for a link above which the machine starts no new stage."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Where to reach the other end of a link.

    Attributes:
        link: Position of the link.
        data: Endpoint for the parcels that this machine sends.
        control: Endpoint of the control line; None at the end that is dialled.
    """

    link: int
    data: str
    control: str | None


class Owner(Protocol):
    """Is told, in the loop's thread, what happens on the links."""

    def receipt(self, link: int, direction: int, receipt: Receipt) -> None:
        """A parcel that this machine sent has arrived."""
        ...

    def undelivered(self, parcels: Sequence[Parcel]) -> None:
        """These did not arrive, and are not sent again."""
        ...

    def told(self, message: dict[str, Any], blobs: list[bytes]) -> None:
        """Another machine tells this one something."""
        ...

    def link_changed(self) -> None:
        """A control line went up or down."""
        ...


class Links:
    """All links of one machine.

    Args:
        loop: The loop.
        hub: The port of this machine.
        continuum: The machines and links.
        me: Position of this machine.
        dials: Where to reach the other end of each link of this machine.
        credentials: Its keys.
        silent_s: Silence after which the other end of a link counts as lost.
        owner: Is told what happens.
    """

    def __init__(
        self,
        loop: Loop,
        hub: Hub,
        continuum: Continuum,
        me: int,
        dials: Sequence[Dial],
        credentials: Credentials,
        *,
        silent_s: float,
        owner: Owner,
    ) -> None:
        self._loop, self._hub, self._continuum, self._me, self._owner = loop, hub, continuum, me, owner
        self._lanes: dict[tuple[int, int], Lane] = {}
        self._lines: dict[int, Line] = {}
        self._down: set[int] = set()
        self._senders: dict[tuple[int, int], _Sender] = {}
        ends = [(dial, continuum.links[dial.link]) for dial in dials]
        others = [credentials.towards(continuum.names[link.b if link.a == me else link.a]) for _, link in ends]
        self._ways = {
            (dial.link, 0 if link.a == me else 1): (dial.data, towards)
            for (dial, link), towards in zip(ends, others, strict=True)
        }
        for key in self._ways:
            self._open(*key)
        for dial, towards in zip(dials, others, strict=True):
            if dial.control is not None:
                self._lines[dial.link] = Line(
                    loop,
                    dial.control,
                    line_identity(continuum, dial.link),
                    towards,
                    silent_s=silent_s,
                    on_message=self.message,
                    on_up=lambda _incarnation, link=dial.link: self.line_up(link),  # type: ignore[misc]
                    on_down=lambda _reason, link=dial.link: self.line_down(link),  # type: ignore[misc]
                )

    @property
    def lanes(self) -> Mapping[tuple[int, int], Lane]:
        """The lanes by link and direction."""
        return self._lanes

    @property
    def silent(self) -> list[int]:
        """Links whose other end this machine watches and does not hear."""
        return [link for link, line in self._lines.items() if not line.is_up]

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong with each connection that is not up, by its name."""
        lanes = {f"data of link {link} direction {direction}": lane for (link, direction), lane in self._lanes.items()}
        lines = {f"control of link {link}": line for link, line in self._lines.items()}
        return {name: x.why or x.state for name, x in (lanes | lines).items() if x.state != "up"}

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait for links."""
        return max((lane.bytes_waiting for lane in self._lanes.values()), default=0)

    def send(self, parcel: Parcel, release: Callable[[], None] | None = None) -> None:
        """Send a parcel towards its target.

        Args:
            parcel: The parcel.
            release: Called once it has left this machine, if it came from another one.
        """
        hop = self._hop(parcel.target)
        self._lanes[hop.link, hop.direction].send(parcel)
        self._senders[hop.link, hop.direction].releases.append(release)

    def tell(self, device: int, message: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> bool:
        """Tell another machine something, by way of those between.

        Returns:
            False where the way is known to be cut; True says only that it was sent on.
        """
        envelope = {"to": device, **message}
        hop = self._hop(device)
        line = self._lines.get(hop.link)
        if line is not None:
            return line.say(envelope, blobs)
        return self._hub.say(line_identity(self._continuum, hop.link), envelope, blobs)

    def message(self, message: dict[str, Any], blobs: list[bytes]) -> None:
        """Take a message of a neighbour: it is for this machine, or passed on.

        Raises:
            TransportError: It says not for whom it is.
        """
        device = message.get("to")
        if not isinstance(device, int) or not 0 <= device < len(self._continuum):
            raise TransportError(f"a message for {device!r} arrived; use one version on every machine")
        if device == self._me:
            self._owner.told(message, blobs)
        else:
            self.tell(device, message, blobs)

    def line_up(self, link: int) -> None:
        """The other end of a link is heard, at first or again; data dials anew then, as its connection may be dead."""
        if link in self._down:
            self._down.discard(link)
            for (position, _), lane in self._lanes.items():
                if position == link:
                    lane.redial()
        self._owner.link_changed()

    def line_down(self, link: int) -> None:
        """The other end of a link is not heard any more."""
        self._down.add(link)
        self._owner.link_changed()

    def clear(self) -> None:
        """Forget what waits to be sent; it counts as lost."""
        for key, lane in list(self._lanes.items()):
            if lane.waiting:
                lane.close()
                self._open(*key)

    def close(self) -> None:
        """Hang up."""
        for lane in self._lanes.values():
            lane.close()
        for line in self._lines.values():
            line.close()

    def _open(self, link: int, direction: int) -> None:
        """Dial for the parcels of one direction of a link."""
        endpoint, towards = self._ways[link, direction]
        sender = self._senders[link, direction] = _Sender(self._owner, link, direction)
        name = f"{self._continuum.names[self._me]}/lane-{link}-{direction}"
        self._lanes[link, direction] = Lane(self._loop, endpoint, name, towards, listener=sender)

    def _hop(self, device: int) -> Hop:
        return self._continuum.path(self._me, device)[0]


class _Sender:
    """Listens to one lane."""

    def __init__(self, owner: Owner, link: int, direction: int) -> None:
        self._owner, self._place = owner, (link, direction)
        self.releases: deque[Callable[[], None] | None] = deque()

    def sent(self, receipt: Receipt) -> None:
        self._let_go()
        self._owner.receipt(*self._place, receipt)

    def lost(self, parcels: list[Parcel]) -> None:
        for _ in parcels:
            self._let_go()
        self._owner.undelivered(parcels)

    def _let_go(self) -> None:
        release = self.releases.popleft()
        if release is not None:
            release()


def line_identity(continuum: Continuum, link: int) -> str:
    """Name under which the earlier device of a link dials the later one for control."""
    return f"{continuum.names[continuum.links[link].a]}/line-{link}"


def link_of(identity: str) -> int | None:
    """The link of a control line, by the name that `line_identity` gives it; None for another one's."""
    head, _, number = identity.rpartition("/line-")
    return int(number) if head and number.isdecimal() else None

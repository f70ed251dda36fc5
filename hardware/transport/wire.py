"""The messages between a hub and those that dial it: a byte says what each one is, fixed little-endian fields follow.

A dialling end begins with a hello and is answered with a welcome, or refused. After that a lane sends parcels and gets
acknowledgements and credit; lines and clients exchange control messages; all of them send beats and get them back.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from hardware.transport.clock import Offset, exchange
from hardware.transport.head import VERSION
from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hardware.transport.parcel import Limits

HELLO, WELCOME, REFUSED, DATA, ACK, CREDIT, BEAT, BEATEN, MESSAGE = range(1, 10)

DATA_HEAD = struct.Struct("<B7xQ")
"""Type, sequence number of the parcel in its lane; the head of the parcel follows in the same frame."""
ACKNOWLEDGE = struct.Struct("<BB6xQdQQ")
"""Type, whether the parcel was refused, its sequence number, handling time in s, then the credit as in `CREDITED`."""
CREDITED = struct.Struct("<B7xQQ")
"""Type, parcels and bytes of the lane that were released since it began."""
BEATING = struct.Struct("<B7xd")
"""Type, the dialling end's clock when it was sent."""
BEATEN_BACK = struct.Struct("<B7xddd")
"""Type, the stamp of the beat, the hub's clock when it was heard and when it is answered."""
ASK = "ask"
"""Key of a control message that holds the number of a question of a client."""
MESSAGE_HEAD = bytes([MESSAGE])
"""Before the frame with the JSON and one per blob."""

_HELLO = struct.Struct("<BBB5xQQd")
_WELCOME = struct.Struct("<BB6xQQQQQQ")
_IDENTITY_BYTES = 255


class Role(IntEnum):
    """What dials."""

    LANE = 1
    LINE = 2
    CLIENT = 3


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a connection.

    Attributes:
        role: What dials.
        session: Random number of the lane, line or client; stays over reconnects.
        incarnation: Of the dialling process.
        silent_s: Silence after which the peer counts as down; 0 for lanes and clients.
        identity: Name of the dialling end.
    """

    role: Role
    session: int
    incarnation: int
    silent_s: float
    identity: str

    def pack(self) -> bytes:
        """Return the message.

        Raises:
            TransportError: The identity is empty or too long.
        """
        identity = self.identity.encode()
        if not 0 < len(identity) <= _IDENTITY_BYTES:
            raise TransportError(f"identity {self.identity!r}: must have 1 to {_IDENTITY_BYTES} bytes")
        return _HELLO.pack(HELLO, VERSION, self.role, self.session, self.incarnation, self.silent_s) + identity


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to a hello; all but the incarnation is about lanes.

    Attributes:
        incarnation: Of the hub's process.
        arrived: Sequence number of the last parcel of this lane that has arrived.
        taken_parcels: Parcels of this lane that were released.
        taken_bytes: Their bytes.
        window_parcels: How many may have arrived without having been released.
        window_bytes: From how many unreleased bytes on the lane waits.
    """

    incarnation: int
    arrived: int
    taken_parcels: int
    taken_bytes: int
    window_parcels: int
    window_bytes: int

    def pack(self) -> bytes:
        """Return the message."""
        return _WELCOME.pack(
            WELCOME,
            VERSION,
            self.incarnation,
            self.arrived,
            self.taken_parcels,
            self.taken_bytes,
            self.window_parcels,
            self.window_bytes,
        )


def read_hello(raw: bytes) -> Hello:
    """Return the hello in `raw`.

    Raises:
        TransportError: It is malformed or of another version.
    """
    if len(raw) < 2 or raw[1] != VERSION:
        raise TransportError("another version of the transport; install the same version on all machines")
    if not _HELLO.size < len(raw) <= _HELLO.size + _IDENTITY_BYTES:
        raise TransportError(f"a hello of {len(raw)} bytes")
    _, _, role, session, incarnation, silent_s = _HELLO.unpack_from(raw)
    try:
        # `not` catches NaN too.
        if not 0.0 <= silent_s < 1e6:
            raise TransportError(f"a hello that allows {silent_s} s of silence")
        return Hello(Role(role), session, incarnation, silent_s, raw[_HELLO.size :].decode())
    except ValueError as error:
        raise TransportError(f"a hello that cannot be read ({error})") from error


def read_welcome(raw: bytes) -> Welcome:
    """Return the welcome in `raw`.

    Raises:
        TransportError: The peer refuses the connection and says why, or talks another protocol.
    """
    if raw[:1] == bytes([REFUSED]):
        raise TransportError(raw[1:].decode(errors="replace"))
    if len(raw) != _WELCOME.size or raw[0] != WELCOME or raw[1] != VERSION:
        raise TransportError("the peer does not speak this protocol; is it the hub of an agent of this version?")
    return Welcome(*_WELCOME.unpack(raw)[2:])


def read_beaten(raw: bytes, received_s: float, *, quiet: bool = True) -> Offset | None:
    """Return what a beat that came back says of the clocks, or None if `raw` is something else.

    Args:
        raw: A message of a hub.
        received_s: When it was received, on the own clock.
        quiet: Whether no parcel was under way meanwhile.
    """
    if len(raw) != BEATEN_BACK.size or raw[0] != BEATEN:
        return None
    _, sent_s, heard_s, answered_s = BEATEN_BACK.unpack(raw)
    return exchange(sent_s, heard_s, answered_s, received_s, quiet=quiet)


def pack_refusal(reason: str) -> bytes:
    """Return the message that refuses a connection."""
    return bytes([REFUSED]) + reason.encode()


def pack_message(message: Mapping[str, Any]) -> bytes:
    """Return the JSON of a control message.

    Raises:
        TransportError: It holds what JSON has no word for.
    """
    try:
        return json.dumps(message, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise TransportError(f"a control message that is no JSON ({error}): {message!r}") from error


def read_message(frames: Sequence[bytes], limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    """Return the control message in `frames`, the first of which says only that it is one, and its blobs.

    Raises:
        TransportError: It is malformed or over the limits.
    """
    if not 2 <= len(frames) <= 2 + limits.tensors or len(frames[1]) > limits.text_bytes:
        raise TransportError(f"a control message of {len(frames)} frames")
    try:
        message = json.loads(frames[1])
    except (ValueError, RecursionError) as error:
        raise TransportError(f"a control message that cannot be read ({error})") from error
    if not isinstance(message, dict):
        raise TransportError("a control message that is no JSON object")
    return message, list(frames[2:])

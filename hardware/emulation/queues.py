"""The kernel's queues that play a link direction: tbf for the rate, netem for the delay, and one that drops all."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from twin.errors import EmulationError
from twin.units import BITS_PER_BYTE, ms_from_s

if TYPE_CHECKING:
    from hardware.emulation.tool import Run

GOODPUT_SHARE = 0.956
"""Payload that TCP carries per bit of tbf's rate, measured from 10 to 1000 Mbit/s: the rest is headers."""

_LATENCY_S = 0.2
_PACKET_BYTES = 1514
_BURST_BYTES = ((100e6, 4_000), (500e6, 16_000), (1000e6, 64_000))
"""Burst up to each rate of tbf, in bits per second: a larger one makes small tensors look too fast."""


def burst_bytes(rate_bps: float) -> int:
    """Burst of tbf at a rate; beyond 1 Gbit/s it grows with the rate."""
    for up_to_bps, size_bytes in _BURST_BYTES:
        if rate_bps <= up_to_bps:
            return size_bytes
    last_bps, last_bytes = _BURST_BYTES[-1]
    return math.ceil(last_bytes * rate_bps / last_bps)


class Queue:
    """The queue at one end of a virtual link.

    Args:
        run: Runs `tc`.
        namespace: Namespace of the sender.
        device: Name of the network device in it.
        netem: Whether the kernel can delay.
    """

    def __init__(self, run: Run, namespace: str, device: str, *, netem: bool) -> None:
        self._run = run
        self._place = ("dev", device)
        self._tc = ("tc", "-n", namespace, "qdisc")
        self._netem = netem
        self._open = False

    def play(self, goodput_bps: float, delay_s: float) -> None:
        """Carry a goodput after a delay; a goodput of 0 drops everything, which TCP sends again later.

        Raises:
            EmulationError: The kernel refuses.
        """
        if goodput_bps <= 0.0:
            # A queue of one byte has room for no packet.
            self._run(*self._tc, "replace", *self._place, "root", "bfifo", "limit", "1")
            self._open = False
            return
        rate_bps = goodput_bps / GOODPUT_SHARE
        tbf = ["tbf", "rate", f"{rate_bps:.0f}bit", "burst", str(burst_bytes(rate_bps))]
        tbf += ["latency", f"{ms_from_s(_LATENCY_S):.0f}ms"]
        verb = "change" if self._open else "replace"
        self._run(*self._tc, verb, *self._place, "root", "handle", "1:", *tbf)
        if self._netem:
            packets = math.ceil((_LATENCY_S + delay_s) * rate_bps / BITS_PER_BYTE / _PACKET_BYTES) + 20
            netem = ["netem", "delay", f"{ms_from_s(delay_s):.3f}ms", "limit", str(packets)]
            self._run(*self._tc, verb, *self._place, "parent", "1:1", "handle", "10:", *netem)
        self._open = True


def has_netem(run: Run, namespace: str) -> bool:
    """Whether the kernel can delay packets, found out by trying on the loopback device of a namespace."""
    place = ("dev", "lo", "root")
    try:
        run("tc", "-n", namespace, "qdisc", "add", *place, "netem", "delay", "1ms")
    except EmulationError:
        return False
    run("tc", "-n", namespace, "qdisc", "del", *place)
    return True


def free_block(taken: str) -> int:
    """A block 10.x that no address in the output of `ip -4 -o addr` lies in.

    Raises:
        EmulationError: None is free.
    """
    words = taken.split()
    used = {word.split(".")[1] for key, word in pairwise(words) if key == "inet" and word.startswith("10.")}
    for block in range(201, 251):
        if str(block) not in used:
            return block
    raise EmulationError("every block of addresses from 10.201 to 10.250 is in use; free one of them")

"""Which way to emulate a device: compute for real where this host is fast enough, else only sleep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from hardware.emulation.speed import SpeedKind

MARGIN = 1.25
"""The host must be faster than the device by this factor, once cores are shared."""

_SLOW_SHARE = 0.1
"""Layers in which the host is slower may take up this share of the profiled time: others of a stage make up for it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a device is emulated.

    Attributes:
        kind: `profile` or `sleep`.
        reason: Why, in words.
    """

    kind: SpeedKind
    reason: str


def choose_kind(
    device: str, profiled_s: ArrayLike, host_s: ArrayLike, *, busy_threads: int, cores: int, margin: float = MARGIN
) -> Choice:
    """Choose `profile` if this host computes at least as fast as the device, else `sleep`.

    Args:
        device: Name of the device.
        profiled_s: Seconds on the device: of the whole model, or of each layer, shape [n_layers].
        host_s: Seconds on this host, measured alone; the same shape.
        busy_threads: Threads that compute at once, over all devices that share this host.
        cores: Cores of this host.
        margin: Factor by which the host must be faster.

    Raises:
        ValueError: The shapes differ.
    """
    there_s = np.atleast_1d(np.asarray(profiled_s, dtype=float))
    here_s = np.atleast_1d(np.asarray(host_s, dtype=float))
    if there_s.shape != here_s.shape:
        raise ValueError(f"{device}: {there_s.size} profiled times and {here_s.size} times of this host")
    sharing = max(1.0, busy_threads / cores)
    need_s = here_s * sharing * margin
    total_s, host_total_s = float(there_s.sum()), float(here_s.sum())
    times = (
        f"{host_total_s:.4g} s here against {total_s:.4g} s in the profile of `{device}`, with {busy_threads} threads "
        f"on {cores} cores and a margin of {margin:g}"
    )
    if float(need_s.sum()) > total_s:
        return Choice("sleep", f"this host is not fast enough to compute: the model takes {times}")
    slow_s = float(there_s[need_s > there_s].sum())
    if slow_s > _SLOW_SHARE * total_s:
        return Choice(
            "sleep",
            f"this host is not fast enough in layers that make up {slow_s / total_s:.0%} of the profiled time: {times}",
        )
    return Choice("profile", f"this host is fast enough to compute: the model takes {times}")

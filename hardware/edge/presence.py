"""Which machines and links answer, as far as the edge can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from twin.topology import Continuum

_NAP = 4
"""Whoever looks again later than after this part, 1 / n, of the silence that counts was away meanwhile."""

Place = tuple[str, int]
"""A device, `("device", k)`, or a link, `("link", l)`."""


class Presence:
    """Tells what is lost: a link whose ends do not hear each other, a device that the edge does not hear.

    A machine that cannot be reached over links that are up counts as lost at once: nothing could come from it. Time in
    which nobody looked is no silence: an edge that was stopped, or busy, for long finds reports waiting to be read.

    Args:
        continuum: The machines and links.
        silent_s: Time after which a machine that was not heard is lost.
    """

    def __init__(self, continuum: Continuum, silent_s: float) -> None:
        self._continuum, self._silent_s = continuum, silent_s
        self._heard_s = [0.0] * len(continuum)
        self._silent: set[int] = set()
        self._looked_s = 0.0
        self.lost: frozenset[Place] = frozenset()

    @property
    def available(self) -> np.ndarray:
        """Whether each device answers, shape [n_devices]."""
        return np.array([("device", device) not in self.lost for device in range(len(self._continuum))])

    @property
    def link_up(self) -> np.ndarray:
        """Whether each link is up, shape [n_links]."""
        return np.array([("link", link) not in self.lost for link in range(len(self._continuum.links))], dtype=bool)

    def heard(self, device: int, now_s: float) -> None:
        """A machine has said something."""
        self._heard_s[device] = now_s

    def link(self, link: int, *, up: bool) -> None:
        """The ends of a link hear each other, or no longer."""
        if up:
            self._silent.discard(link)
        else:
            self._silent.add(link)

    def review(self, now_s: float) -> tuple[frozenset[Place], frozenset[Place]]:
        """Find out what has changed.

        Returns:
            What is lost and was not, and what is back.
        """
        self._forgive(now_s)
        reached = self._reached()
        devices = {
            ("device", device)
            for device in range(1, len(self._continuum))
            if device not in reached or now_s - self._heard_s[device] > self._silent_s
        }
        before, self.lost = self.lost, frozenset(devices | {("link", link) for link in self._silent})
        return self.lost - before, before - self.lost

    def _forgive(self, now_s: float) -> None:
        """Take the time in which nobody looked off the silence."""
        away_s = now_s - self._looked_s
        self._looked_s = now_s
        if away_s > self._silent_s / _NAP:
            self._heard_s = [min(heard_s + away_s, now_s) for heard_s in self._heard_s]

    def _reached(self) -> set[int]:
        """Devices to which links lead that are up."""
        reached, frontier = {0}, [0]
        while frontier:
            here = frontier.pop()
            for position, link in enumerate(self._continuum.links):
                for one, other in ((link.a, link.b), (link.b, link.a)):
                    if one == here and other not in reached and position not in self._silent:
                        reached.add(other)
                        frontier.append(other)
        return reached

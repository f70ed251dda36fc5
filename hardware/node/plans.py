"""The plans of one run on one machine: their stages are made ready, and parcels that come before wait for them."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from hardware.node.machine import Machine
    from hardware.node.workshop import Visit
    from hardware.transport.parcel import Parcel
    from twin.partition import Partition

EPOCHS = 1 << 16
"""Plan epochs of one run; on the wire they are counted on from run to run."""
_MOST = 16
"""Plans that are kept ready, the newest ones: a request that is under way for longer than so many changes is lost."""


class Plans:
    """The plans that a machine has ready, or makes ready; in the loop's thread.

    Args:
        machine: The machine.
        queue: Takes each parcel whose plan is ready: (visit, parcel, release). The visit is None where the machine has
            nothing to do for it.
        tell_edge: Tells the edge something, in a word and by name.
    """

    def __init__(
        self,
        machine: Machine,
        queue: Callable[[Visit | None, Parcel, Callable[[], None]], None],
        tell_edge: Callable[..., None],
    ) -> None:
        self._machine, self._queue, self._tell_edge = machine, queue, tell_edge
        self._visits: dict[int, Visit | None] = {}
        self._partitions: dict[int, Partition] = {}
        self._preparing: set[int] = set()
        self._early: dict[int, deque[tuple[Parcel, Callable[[], None]]]] = {}
        self._closed = False

    @property
    def rows(self) -> list[list[int]]:
        """The plans that this machine was told of, as `Report.plans` has them."""
        return [[epoch, 1] for epoch in self._partitions] + [[epoch, 0] for epoch in sorted(self._preparing)]

    def take(self, epoch: int, parcel: Parcel, release: Callable[[], None]) -> None:
        """Queue a parcel: at once if its plan is ready, else as soon as it is."""
        if epoch in self._visits:
            self._queue(self._visits[epoch], parcel, release)
        else:
            self._early.setdefault(epoch, deque()).append((parcel, release))

    def prepare(self, epoch: int, partition: Partition) -> None:
        """Make the stage of a plan ready, beside the loop, unless it is or will be."""
        if self._closed or epoch in self._preparing:
            return
        machine = self._machine
        if epoch in self._partitions:
            self._tell_edge("ready", epoch=epoch, device=machine.me)
            return
        self._preparing.add(epoch)
        future = machine.builder.submit(machine.workshop.visit, partition)
        future.add_done_callback(lambda made: machine.loop.post(self._prepared, epoch, partition, made))

    def close(self) -> None:
        """Let go what came early, and forget all plans."""
        self._closed = True
        for _, release in itertools.chain(*self._early.values()):
            release()
        self._early.clear()
        for epoch in list(self._partitions):
            self._forget(epoch)

    def _prepared(self, epoch: int, partition: Partition, made: Future[Visit | None]) -> None:
        self._preparing.discard(epoch)
        machine, error = self._machine, made.exception()
        if self._closed:
            if error is None:
                machine.workshop.forget(partition)
            return
        if error is not None:
            self._tell_edge("unready", error=f"{machine.name}: {error}")
            return
        self._visits[epoch] = made.result()
        self._partitions[epoch] = partition
        if len(self._partitions) > _MOST:
            self._forget(min(self._partitions))
        for parcel, release in self._early.pop(epoch, ()):
            self._queue(self._visits[epoch], parcel, release)
        self._tell_edge("ready", epoch=epoch, device=machine.me)

    def _forget(self, epoch: int) -> None:
        """A plan is so old that nothing can be under way on it; what comes all the same is lost."""
        self._machine.workshop.forget(self._partitions.pop(epoch))
        self._visits[epoch] = None

"""Stage modules of the plans in use, and of as many plans before as fit into a memory limit.

A plan that comes back is ready at once. What counts against the limit is what a stage adds to the model that is in
memory anyway: the nodes and modules of its graph, and weights that it holds copies of, as on a GPU.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from twin.errors import MachineError
from twin.units import megabytes_from_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.stages import StageModule

_STAGE_BYTES = 6_000
_MODULE_BYTES = 1_600
_NODE_BYTES = 600
"""What Python takes per stage, module and node, generated code included: fitted to tracemalloc over six models cut in
1, 3 and 6 stages, which it meets within 35 %."""


class StageKey(NamedTuple):
    """What tells stages apart.

    Attributes:
        model: Name of the model.
        placement: Device of each layer, as in `Partition`.
        device: The device whose stage it is.
    """

    model: str
    placement: tuple[int, ...]
    device: int


@dataclass(slots=True)
class _Entry:
    """A stage that is there or being made; `size_bytes` is 0 until it is there."""

    stage: Future[StageModule]
    users: int = 0
    size_bytes: int = 0


class StageCache:
    """Keeps stages by key; those that somebody holds stay, of the others the least recently used go first.

    All methods may be called from any thread. A stage is made once, without holding up those who ask for another one.

    Args:
        limit_bytes: Most bytes that stages may take, by `size_bytes`.
        shared: The model that the stages are cut from, whose weights do not count.
    """

    def __init__(self, limit_bytes: int, shared: torch.nn.Module) -> None:
        self.limit_bytes = limit_bytes
        self._shared = frozenset(id(tensor) for tensor in _tensors(shared))
        self._entries: OrderedDict[StageKey, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: StageKey, make: Callable[[], StageModule]) -> StageModule:
        """Return a stage and hold it until `release`; it is made if it is not there.

        Args:
            key: Which stage.
            make: Makes it; called in this thread, at most once at a time per key.

        Raises:
            MachineError: The stages that are held would not fit into the limit with it.
            Exception: What `make` raised; nothing is kept then.
        """
        with self._lock:
            entry = self._entries.get(key)
            makes = entry is None
            if entry is None:
                entry = self._entries[key] = _Entry(Future())
            entry.users += 1
            self._entries.move_to_end(key)
        if makes:
            self._make(key, entry, make)
        return entry.stage.result()

    def release(self, key: StageKey) -> None:
        """Say that a holder of a stage needs it no longer; it stays as long as there is room."""
        with self._lock:
            entry = self._entries[key]
            if entry.users == 0:
                raise RuntimeError(f"{key} is released more often than it was taken")
            entry.users -= 1

    @property
    def size_bytes(self) -> int:
        """Bytes that all stages take, held or not."""
        with self._lock:
            return sum(entry.size_bytes for entry in self._entries.values())

    def __contains__(self, key: StageKey) -> bool:
        with self._lock:
            return key in self._entries

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def _make(self, key: StageKey, entry: _Entry, make: Callable[[], StageModule]) -> None:
        try:
            stage = make()
            size_bytes = stage_bytes(stage, self._shared)
            with self._lock:
                self._make_room(key, size_bytes)
                entry.size_bytes = size_bytes
        except BaseException as error:
            with self._lock:
                del self._entries[key]
            # Those who wait for the same stage get the same error.
            entry.stage.set_exception(error)
            raise
        entry.stage.set_result(stage)

    def _make_room(self, key: StageKey, size_bytes: int) -> None:
        """Let stages go until one more of this size fits.

        Raises:
            MachineError: It does not fit beside those that are held.
        """
        held_bytes = sum(entry.size_bytes for entry in self._entries.values() if entry.users)
        if held_bytes + size_bytes > self.limit_bytes:
            raise MachineError(
                f"the stage of {key.model} on device {key.device} takes {megabytes_from_bytes(size_bytes):.3g} MB and "
                f"those in use take {megabytes_from_bytes(held_bytes):.3g} MB, more than the limit of "
                f"{megabytes_from_bytes(self.limit_bytes):.3g} MB; raise `limits.stage_cache_bytes` of the agent"
            )
        total_bytes = sum(entry.size_bytes for entry in self._entries.values())
        for other in [other for other, entry in self._entries.items() if not entry.users]:
            if total_bytes + size_bytes <= self.limit_bytes:
                break
            total_bytes -= self._entries.pop(other).size_bytes


def stage_bytes(stage: StageModule, shared: frozenset[int]) -> int:
    """Bytes that a stage takes beside the tensors whose `id` is in `shared`.

    Its own tensors, such as copies on a GPU, count exactly, the Python objects by an estimate.
    """
    own = {id(tensor): tensor.numel() * tensor.element_size() for tensor in _tensors(stage.module)}
    n_modules, n_nodes = sum(1 for _ in stage.module.modules()), len(stage.module.graph.nodes)
    objects_bytes = _STAGE_BYTES + _MODULE_BYTES * n_modules + _NODE_BYTES * n_nodes
    return objects_bytes + sum(size for identity, size in own.items() if identity not in shared)


def placed(stage: StageModule, accelerator: str) -> StageModule:
    """Return the stage with its weights on an accelerator.

    On `cpu` that is the stage itself, which shares the weights of the model; elsewhere it gets copies of its own, and
    the model stays where it is.
    """
    if accelerator == "cpu":
        return stage
    copies: dict[int, object] = {}
    for tensor in _tensors(stage.module):
        moved = tensor.detach().to(accelerator)
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        copies[id(tensor)] = torch.nn.Parameter(moved, requires_grad=False) if is_parameter else moved
    return replace(stage, module=copy.deepcopy(stage.module, copies))


def _tensors(module: torch.nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]

"""Small models for the tests, among them one that runs any program of steps, in-place ones included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from twin.partition import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardware.stages import StageModule
    from twin.graph import LayerGraph

SIZE = 4

Step = tuple[str, int, int]
"""An operation and the positions of the tensors that it reads, counted back from the newest."""


class Program(nn.Module):
    """Runs steps on square matrices; each step appends its result to the tensors that later ones may read.

    Every step either makes a new tensor, looks at an old one, or modifies an old one in place, so that a random
    program mixes the three in all orders.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.steps = list(steps)
        self.linears = nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in steps)
        self.rectify = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout()
        self.weight = nn.Parameter(torch.randn(SIZE, SIZE))

    def forward(self, x):
        tensors = [x]
        for position, (op, i, j) in enumerate(self.steps):
            a, b = tensors[-1 - i % len(tensors)], tensors[-1 - j % len(tensors)]
            tensors.append(self._step(op, position, a, b))
        return tensors[-1] + tensors[0]

    def _step(self, op, position, a, b):
        if op == "linear":
            return self.linears[position](a)
        if op == "iadd":
            a += b
            return a
        actions: dict[str, Callable[[], torch.Tensor]] = {
            "add": lambda: a + b,
            "add_": lambda: a.add_(b),
            "rectify": lambda: self.rectify(a),
            "relu_": lambda: torch.relu_(a),
            "relu": lambda: functional.relu(a, inplace=True),
            "dropout": lambda: self.dropout(a),
            "look": lambda: a.transpose(0, 1),
            "weight": lambda: a * self.weight.transpose(0, 1),
            "chunk": lambda: self._halves(a),
            "single": lambda: torch.cat([a.chunk(2)[1], b.chunk(2)[0]]),
            "shape": lambda: a.reshape(a.shape[0] * a.shape[1]).reshape(a.size(0), -1),
        }
        return actions[op]()

    @staticmethod
    def _halves(a):
        halves = a.chunk(2)
        return torch.cat([halves[1].sigmoid(), halves[0].sigmoid()])


OPS = (
    "linear",
    "add",
    "iadd",
    "add_",
    "rectify",
    "relu_",
    "relu",
    "dropout",
    "look",
    "weight",
    "chunk",
    "single",
    "shape",
)


class Residual(nn.Module):
    """Two residual blocks with batch norm, in-place activations and `+=`, then a pooled linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.first = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.second = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(16, 5))

    def forward(self, x):
        x = self.stem(x)
        y = self.first(x)
        y += x
        y = self.act(y)
        z = y + self.second(y)
        return self.head(torch.flatten(self.pool(torch.cat([z, x], 1)[:, :4]), 1))


def draw_placement(graph: LayerGraph, n_devices: int, jump: Callable[[int, int], int]) -> Partition:
    """Place each layer on the device that `jump(lowest, highest)` chooses among those its inputs allow."""
    placement: list[int] = []
    for sources in graph.predecessors:
        lowest = max((placement[source] for source in sources), default=0)
        placement.append(jump(lowest, n_devices - 1))
    return Partition(tuple(placement), n_devices)


def run_apart(stages: Sequence[StageModule], sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Run stages as separate machines would: each gets contiguous copies, named as it expects them."""
    tensors, names = (sample,), stages[0].inputs
    with torch.inference_mode():
        for stage in stages:
            assert stage.inputs == names
            received = tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors)
            before = tuple(tensor.clone() for tensor in received)
            tensors, names = stage(*received), stage.outputs
            assert all(torch.equal(a, b) for a, b in zip(received, before, strict=True)), "a stage modified its inputs"
    return tensors

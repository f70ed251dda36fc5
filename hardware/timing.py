"""Time a model layer by layer, stage by stage and as a whole, all of it interleaved.

One round measures, in this order, the whole model once, then every layer, then every stage; rounds are repeated, so a
machine that slows down slows everything down alike, and the medians still fit each other.

What a cache holds when a layer starts decides much of its time. So the layers of a round run in topological order,
each on what its producers have written moments ago, as in an ordinary pass, and a tensor is let go as soon as nobody
reads it any more, so that memory is reused as in an ordinary pass too. The inputs of the whole model and of every
stage are copied just before their turn: a machine that receives a tensor has also just written it. Every layer's
weights are touched once per pass over the model, as on a machine that runs the whole model again and again.

A time covers one call, from one reading of the clock to the next, on a GPU including the wait for it to finish.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hardware.stages import layer_module, stage_module
from twin.graph import INPUT
from twin.profiles import Quantiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hardware.stages import StageModule
    from hardware.tracing.trace import TracedModel

_S_PER_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Timer:
    """How one call is timed.

    Attributes:
        clock_ns: Reads a monotonic clock, in nanoseconds.
        synchronise: Waits until the device has finished what it was given.
    """

    clock_ns: Callable[[], int] = time.perf_counter_ns
    synchronise: Callable[[], object] = lambda: None

    def time(
        self, call: Callable[..., tuple[torch.Tensor, ...]], arguments: Sequence[torch.Tensor]
    ) -> tuple[tuple[torch.Tensor, ...], float]:
        """Return the results of a call and its duration in seconds."""
        self.synchronise()
        start_ns = self.clock_ns()
        results = call(*arguments)
        self.synchronise()
        return results, (self.clock_ns() - start_ns) * _S_PER_NS


@dataclass(frozen=True, slots=True)
class Samples:
    """Durations in seconds, one row per round.

    Attributes:
        whole_s: Of the whole model, shape [repeats].
        layers_s: Of the layers, shape [repeats, n_layers].
        stages_s: Of the stages, shape [repeats, n_stages].
    """

    whole_s: np.ndarray
    layers_s: np.ndarray
    stages_s: np.ndarray


class Rounds:
    """The calls of one round on one model.

    Args:
        model: The model as its author wrote it: what a user would time as a whole.
        traced: The same model, traced; the modules are on the device that is measured.
        spans: Start and stop of each stage.
        image: The input, on the same device.
        timer: Times each call.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        traced: TracedModel,
        spans: Sequence[tuple[int, int]],
        image: torch.Tensor,
        timer: Timer,
    ) -> None:
        self._whole = lambda x: (model(x),)
        self._layers = [layer_module(traced, position) for position in range(len(traced.graph))]
        self._stages = [stage_module(traced, start, stop) for start, stop in spans]
        self._last_reader = _last_readers(self._layers)
        self._image = image
        self._timer = timer
        self._cuts = self._cut_tensors()

    def run(self) -> tuple[float, list[float], list[float]]:
        """Run one round; return the times of the whole model, of each layer and of each stage, in seconds."""
        _, whole_s = self._timer.time(self._whole, [self._image.clone()])
        layers_s = self._run_layers()
        stages_s = []
        for stage in self._stages:
            received = [self._cuts[name].clone() for name in stage.inputs]
            stages_s.append(self._timer.time(stage, received)[1])
        return whole_s, layers_s, stages_s

    def _run_layers(self) -> list[float]:
        held = {INPUT: self._image.clone()}
        times_s = []
        for position, layer in enumerate(self._layers):
            results, time_s = self._timer.time(layer, [held[name] for name in layer.inputs])
            times_s.append(time_s)
            held[layer.outputs[0]] = results[0]
            for name in layer.inputs:
                if self._last_reader[name] == position:
                    del held[name]
        return times_s

    def _cut_tensors(self) -> Mapping[str, torch.Tensor]:
        """Run the layers once and keep every tensor that a stage starts from."""
        wanted = {name for stage in self._stages for name in stage.inputs}
        tensors = {INPUT: self._image}
        for layer in self._layers:
            tensors[layer.outputs[0]] = layer(*(tensors[name] for name in layer.inputs))[0]
        return {name: tensor for name, tensor in tensors.items() if name in wanted}


def measure(rounds: Rounds, repeats: int, warm_up: int, tick: Callable[[], object] = lambda: None) -> Samples:
    """Run rounds and collect the times of all but the first `warm_up`.

    Args:
        rounds: What to run.
        repeats: Number of rounds that count.
        warm_up: Number of rounds before them that do not.
        tick: Called after every round.
    """
    rows = []
    with torch.inference_mode():
        for turn in range(warm_up + repeats):
            row = rounds.run()
            if turn >= warm_up:
                rows.append(row)
            tick()
    whole_s, layers_s, stages_s = zip(*rows, strict=True)
    return Samples(np.array(whole_s), np.array(layers_s), np.array(stages_s))


def quantiles(times_s: np.ndarray) -> Quantiles:
    """Return median, 5th and 95th percentile of durations, shape [n], linear between samples, to the nanosecond."""
    p05_s, median_s, p95_s = (round(float(x), 9) for x in np.quantile(times_s, (0.05, 0.5, 0.95)))
    return Quantiles(median_s, p05_s, p95_s, len(times_s))


def _last_readers(layers: Sequence[StageModule]) -> dict[str, int]:
    """Return for each tensor the position of the layer that reads it last."""
    return {name: position for position, layer in enumerate(layers) for name in layer.inputs}

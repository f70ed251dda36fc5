"""Random problems for tests: any small graph of layers, on any continuum of two to four devices.

Whatever the search treats apart occurs: tensors with several consumers, several outputs, chains, relays, direct links,
half duplex, overheads, a codec, memory limits, deadlines, pinned layers, open and closed loop, links without rate,
unknown power and the three accounting boundaries.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from twin.graph import Layer, LayerGraph
from twin.partition import Partition
from twin.problem import BOUNDARIES, Conditions, Demand, Objective, Problem
from twin.topology import Continuum, Device, Link, PowerStates

TIMES_S = st.sampled_from([0.0, 0.001, 0.004, 0.01, 0.013, 0.05, 0.2])
SIZES = st.sampled_from([0, 1_000, 4_000, 30_000, 50_000, 200_000, 1_000_000])
RATES_BPS = st.sampled_from([1e5, 3e6, 20e6, 1e8, 1e9])


@st.composite
def graphs(draw, max_layers=7):
    """A chain, or layers that read one to three of the earlier ones, with one or several outputs."""
    n = draw(st.integers(1, max_layers))
    chain = draw(st.booleans())
    names = ["input", *(f"l{i}" for i in range(n))]
    layers = []
    for position in range(1, n + 1):
        choice = st.sets(st.integers(0, position - 1), min_size=1, max_size=3)
        sources = {position - 1} if chain else draw(choice)
        inputs = tuple(names[source] for source in sorted(sources))
        layers.append(Layer(names[position], "Op", inputs, (1,), draw(SIZES), draw(SIZES), 0.0))
    read = {name for layer in layers for name in layer.inputs}
    loose = tuple(layer.name for layer in layers if layer.name not in read)
    extra = draw(st.sets(st.sampled_from(names[1:]), max_size=2))
    return LayerGraph("random", (1,), draw(SIZES), tuple(layers), tuple(sorted(extra.union(loose))))


@st.composite
def continua(draw, min_devices=2, max_devices=4, memory=True, knows_power=True):
    """Devices in a chain or joined to some earlier one, with some direct links besides."""
    n = draw(st.integers(min_devices, max_devices))
    pairs = {(draw(st.sampled_from([j - 1, 0])), j) for j in range(1, n)}
    pairs |= {pair for pair in combinations(range(n), 2) if draw(st.integers(0, 3)) == 0}
    devices = tuple(
        Device(
            f"d{k}",
            "tier",
            draw(_powers()) if knows_power else None,
            memory_bytes=draw(st.sampled_from([None, None, 60_000.0, 300_000.0, 2e6])) if memory else None,
            slots=draw(st.sampled_from([1, 1, 2])),
        )
        for k in range(n)
    )
    return Continuum(devices, tuple(draw(_links(a, b)) for a, b in sorted(pairs)))


@st.composite
def problems(draw, **options):
    """A problem; options switch parts off.

    Options (all on by default): memory, deadline, pinned, dead (links without rate), and knows_power; besides
    min_devices, max_devices and max_layers.
    """
    graph = draw(graphs(options.get("max_layers", 6)))
    continuum = draw(
        continua(
            options.get("min_devices", 2),
            options.get("max_devices", 4),
            options.get("memory", True),
            options.get("knows_power", True),
        )
    )
    n = len(continuum)
    return Problem(
        graph=graph,
        continuum=continuum,
        layer_time_s=np.array([[draw(TIMES_S) for _ in range(len(graph))] for _ in range(n)]),
        stage_overhead_s=_row(draw, st.sampled_from([0.0, 0.0, 0.003, 0.03]), n),
        codec_s_per_byte=_row(draw, st.sampled_from([0.0, 0.0, 1e-8, 1e-7]), n),
        objective=draw(objectives(options)),
        demand=draw(demands()),
        initial=draw(conditions(continuum, dead=options.get("dead", True))),
        pinned=draw(_pins(graph, n)) if options.get("pinned", True) else {},
    )


@st.composite
def conditions(draw, continuum, dead=True):
    """Rates (some zero), round-trip times and slowdowns."""
    rates = st.one_of(RATES_BPS, RATES_BPS, st.just(0.0)) if dead else RATES_BPS
    links = len(continuum.links)
    return Conditions(
        np.array([[draw(rates), draw(rates)] for _ in range(links)]).reshape(-1, 2),
        _row(draw, st.sampled_from([0.0, 0.002, 0.04]), links),
        _row(draw, st.sampled_from([1.0, 1.0, 1.7, 6.0]), len(continuum)),
    )


@st.composite
def objectives(draw, options):
    """Weights (energy none where the power is not known), a boundary, perhaps a deadline and references."""
    weights = [(1.0, 0.0)]
    if options.get("knows_power", True):
        weights += [(0.0, 1.0), (0.5, 0.5), (0.2, 0.8)]
    latency, energy = draw(st.sampled_from(weights))
    deadlines = [None, None, 0.02, 0.1, 0.6] if options.get("deadline", True) else [None]
    return Objective(
        latency,
        energy,
        draw(st.sampled_from(BOUNDARIES)),
        draw(st.sampled_from(deadlines)),
        draw(st.sampled_from([None, 0.1])),
        draw(st.sampled_from([None, 2.0])),
    )


def demands():
    """Open loop, from rare to more than anything can serve, or closed loop."""
    rates = st.sampled_from([0.1, 4.0, 30.0, 1000.0])
    closed = st.builds(Demand, clients=st.sampled_from([1, 3]), think_time_s=st.sampled_from([0.0, 0.5]))
    return st.one_of(st.builds(Demand, rate_rps=rates), closed)


def partitions(problem):
    """Every partition of a problem, the ones that break a memory limit or move a pinned layer among them."""
    n = problem.n_layers
    before = problem.graph.predecessors
    placements = [()]
    for position in range(n):
        placements = [
            (*placed, device)
            for placed in placements
            for device in range(max((placed[source] for source in before[position]), default=0), problem.n_devices)
        ]
    return [Partition(placement, problem.n_devices) for placement in placements]


@st.composite
def _powers(draw):
    idle_w = draw(st.sampled_from([0.0, 2.0, 9.0]))
    extra = st.sampled_from([0.0, 0.5, 8.0])
    return PowerStates(idle_w, *(idle_w + draw(extra) for _ in range(3)))


@st.composite
def _links(draw, a, b):
    return Link(
        a,
        b,
        duplex=draw(st.sampled_from(["full", "half"])),
        message_overhead_s=draw(st.sampled_from([0.0, 0.001])),
        slow_start_s=draw(st.sampled_from([0.0, 0.02])),
    )


@st.composite
def _pins(draw, graph, n_devices):
    """At most two pinned layers; together they may exclude everything."""
    if draw(st.booleans()):
        return {}
    layers = draw(st.sets(st.integers(0, len(graph) - 1), max_size=2))
    return {layer: draw(st.integers(0, n_devices - 1)) for layer in sorted(layers)}


def _row(draw, values, n):
    return np.array([draw(values) for _ in range(n)], dtype=float)

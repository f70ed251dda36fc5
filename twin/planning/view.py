"""The advice on where to split as text for a terminal, 80 columns wide."""

from __future__ import annotations

import math
import re
from textwrap import wrap
from typing import TYPE_CHECKING

from twin.planning.advice import profile_sources
from twin.units import kilobytes_from_bytes, mbps_from_bps, ms_from_s
from twin.wording import milliseconds, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twin.cost import StageCost, TransferCost
    from twin.planning.advice import Advice, Rival
    from twin.planning.breakeven import Axis, Range
    from twin.search.goals import Plan

WIDTH = 80
_TRADE_OFFS = 12
"""Lines of the table of trade-offs."""


def as_text(advice: Advice) -> str:
    """The whole advice: setting, best partition, rivals, trade-offs and, if asked for, break-even points."""
    parts = [_setting(advice), _best(advice), _rivals(advice), _front(advice)]
    if advice.axis is not None:
        parts.append(_ranges(advice, advice.axis))
    return "\n\n".join(parts) + "\n"


def _setting(advice: Advice) -> str:
    world = advice.world
    sources = [
        f"{x['device']} {x['source']}{', extrapolated' if x['extrapolated'] else ''} ({x['profile']})"
        for x in profile_sources(world)
    ]
    lines = [
        f"{world.name}: where to split {world.problem.graph.model} at {advice.t_s:.12g} s",
        *_paragraph(f"minimised: {_objective(advice)}"),
        "source: simulated (cost model and exact search)",
        *_paragraph(f"layer times: {'; '.join(sources)}"),
        *_paragraph(f"conditions: {'; '.join(_conditions(advice))}"),
    ]
    return "\n".join(lines)


def _objective(advice: Advice) -> str:
    objective = advice.objective
    deadline = "" if objective.deadline_s is None else f"; deadline {milliseconds(objective.deadline_s)} ms"
    if isinstance(advice.aim, str):
        goals = {
            "latency": "latency",
            "energy": f"energy ({objective.boundary})",
            "throughput": "bottleneck (the most requests/s)",
        }
        return goals[advice.aim] + deadline
    terms = []
    if objective.latency:
        terms.append(f"{objective.latency:g} x latency / {milliseconds(advice.references.latency_s)} ms")
    if objective.energy:
        reference = number(advice.references.energy_j)
        terms.append(f"{objective.energy:g} x energy ({objective.boundary}) / {reference} J")
    return " + ".join(terms) + deadline


def _conditions(advice: Advice) -> Iterator[str]:
    continuum, conditions = advice.world.problem.continuum, advice.conditions
    for link in range(len(continuum.links)):
        up, down = (number(mbps_from_bps(float(rate))) for rate in conditions.rate_bps[link])
        rtt = milliseconds(float(conditions.rtt_s[link]))
        yield f"{continuum.link_name(link)} {up} Mbit/s up, {down} down, rtt {rtt} ms"
    for name, slowdown in zip(continuum.names, conditions.slowdown.tolist(), strict=True):
        if slowdown != 1:
            yield f"{name} slowed {number(slowdown)} times"


def _best(advice: Advice) -> str:
    plan, prediction = advice.plan, advice.prediction
    names = advice.world.problem.continuum.names
    lines = _paragraph(f"best: {advice.describe(plan.partition)}")
    lines += _paragraph(
        f"latency {milliseconds(plan.latency_s)} ms for a request that meets no other, {_waiting(advice)}; "
        f"at most {_most(plan)} requests/s"
    )
    if plan.energy_j is not None:
        by_device = prediction.energy_by_device_j(advice.objective.boundary).tolist()
        shares = ", ".join(f"{name} {number(joules)}" for name, joules in zip(names, by_device, strict=True))
        lines += _paragraph(f"energy ({advice.objective.boundary}) {number(plan.energy_j)} J per request: {shares}")
    rows = [_stage_row(advice, x) for x in prediction.stages]
    moves = [
        _transfer_row(advice, x, is_answer=position >= prediction.answer_from)
        for position, x in enumerate(prediction.transfers)
    ]
    rows = _in_order(advice, rows, moves)
    return "\n".join([*lines, "", *_table(("where", "ms", "share", "what"), rows, "<>><")])


def _waiting(advice: Advice) -> str:
    demand = advice.world.problem.demand
    load = (
        f"{number(demand.rate_rps)} requests/s"
        if demand.rate_rps is not None
        else f"{demand.clients} client{'s' if demand.clients != 1 else ''}"
    )
    if math.isinf(advice.sojourn_s):
        return f"but {load} are more than it can serve"
    return f"about {milliseconds(advice.sojourn_s)} ms with the wait at {load}"


def _most(plan: Plan) -> str:
    return number(1 / plan.bottleneck_s) if plan.bottleneck_s > 0 else "any number of"


def _in_order(advice: Advice, stages: list[tuple[str, ...]], moves: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows of stages and messages in the order in which a request meets them."""
    rows: list[tuple[str, ...]] = []
    transfers = advice.prediction.transfers
    place, taken = 0, 0
    for stage, row in zip(advice.prediction.stages, stages, strict=True):
        while place != stage.device:
            rows.append(moves[taken])
            place = transfers[taken].receiver
            taken += 1
        rows.append(row)
    return rows + moves[taken:]


def _stage_row(advice: Advice, stage: StageCost) -> tuple[str, ...]:
    problem = advice.world.problem
    first, last = (problem.graph.layers[stage.layers[end]].name for end in (0, -1))
    layers = f"{len(stage.layers)} layers, {first} to {last}" if len(stage.layers) > 1 else first
    parts = [layers]
    if stage.overhead_s:
        parts.append(f"overhead {milliseconds(stage.overhead_s)} ms")
    if stage.codec_s:
        parts.append(f"codec {milliseconds(stage.codec_s)} ms")
    name = problem.continuum.names[stage.device]
    return name, milliseconds(stage.service_s), _share(advice, stage.service_s), ", ".join(parts)


def _transfer_row(advice: Advice, transfer: TransferCost, *, is_answer: bool) -> tuple[str, ...]:
    names = advice.world.problem.continuum.names
    what = "answer, " if is_answer else ""
    size, delay = number(kilobytes_from_bytes(transfer.size_bytes)), milliseconds(transfer.delay_s)
    return (
        f"{names[transfer.sender]} to {names[transfer.receiver]}",
        milliseconds(transfer.total_s),
        _share(advice, transfer.total_s),
        f"{what}{size} kB sent in {milliseconds(transfer.transmit_s)} ms, delay {delay} ms",
    )


def _share(advice: Advice, time_s: float) -> str:
    latency_s = advice.plan.latency_s
    return f"{100 * time_s / latency_s:.0f} %" if latency_s > 0 else ""


def _rivals(advice: Advice) -> str:
    header = ("instead", "latency ms", "energy J", "score", "worse", "remark")
    rows = [("best", *_figures(advice.plan), "", "")]
    rows += [(rival.label, *_figures(rival.plan), _worse(advice, rival), _remark(rival)) for rival in advice.rivals]
    return "\n".join(_table(header, rows, "<>>>><"))


def _figures(plan: Plan) -> tuple[str, str, str]:
    return milliseconds(plan.latency_s), number(plan.energy_j), number(plan.score)


def _worse(advice: Advice, rival: Rival) -> str:
    excess = advice.excess(rival.plan)
    return f"{100 * excess:+.1f} %" if math.isfinite(excess) else "-"


def _remark(rival: Rival) -> str:
    return "; ".join(rival.problems)


def _front(advice: Advice) -> str:
    if advice.front is None:
        return "trade-offs of latency and energy: not known; give devices.*.power of every device"
    shown = _spread(advice.front)
    rows = [(*_figures(plan), advice.describe(plan.partition)) for plan in shown]
    left_out = "" if len(shown) == len(advice.front) else f"; {len(shown)} of {len(advice.front)}, --json has all"
    title = f"all that no other beats in both latency and energy ({advice.objective.boundary}){left_out}:"
    return "\n".join([*_paragraph(title), *_table(("latency ms", "energy J", "score", "partition"), rows, ">>><")])


def _spread(plans: Sequence[Plan]) -> list[Plan]:
    """At most a screenful of plans, evenly chosen, the first and the last among them."""
    if len(plans) <= _TRADE_OFFS:
        return list(plans)
    step = (len(plans) - 1) / (_TRADE_OFFS - 1)
    return [plans[round(position * step)] for position in range(_TRADE_OFFS)]


def _ranges(advice: Advice, axis: Axis) -> str:
    unit = {"rtt_s": "ms", "slowdown": "times"}.get(axis.kind, "Mbit/s")
    header = (f"from {unit}", "to", "latency ms", "best")
    rows = []
    for x in advice.ranges:
        remark = "" if x.first.feasible else " (misses the deadline)"
        latency = f"{milliseconds(x.first.latency_s)} to {milliseconds(x.last.latency_s)}"
        partition = advice.describe(x.first.partition) + remark
        rows.append((_value(axis, x.low), _value(axis, x.high), latency, partition))
    title = f"as {axis.path} goes from {_value(axis, axis.low)} to {_value(axis, axis.high)} {unit}:"
    return "\n".join([title, *_table(header, rows, ">>><"), *_paragraph(_verdict(advice, axis, unit))])


def _verdict(advice: Advice, axis: Axis, unit: str) -> str:
    """From where it pays to use another device than the first at all, and to use several."""
    edge = advice.world.problem.continuum.names[0]
    elsewhere = _pays(axis, unit, advice.ranges, [not x.is_edge_only for x in advice.ranges])
    several = _pays(axis, unit, advice.ranges, [x.is_split for x in advice.ranges])
    return f"leaving {edge} pays {elsewhere}; splitting over several devices pays {several}"


def _pays(axis: Axis, unit: str, ranges: Sequence[Range], does: Sequence[bool]) -> str:
    """Where something pays, in words, given whether it does in each range."""
    if all(does):
        return "in the whole range"
    spans: list[tuple[int, int]] = []
    for position, pays in enumerate(does):
        if pays and position and does[position - 1]:
            spans[-1] = (spans[-1][0], position)
        elif pays:
            spans.append((position, position))
    texts = []
    for first, last in spans:
        start = f"from {_value(axis, ranges[first].low)}" if first else ""
        end = f"up to {_value(axis, ranges[last].high)} {unit}" if last < len(ranges) - 1 else f"{unit} on"
        texts.append(f"{start} {end}".strip())
    return " and ".join(texts) or "nowhere in this range"


def _value(axis: Axis, value: float) -> str:
    if axis.kind == "slowdown":
        return number(value, 4)
    return number(ms_from_s(value) if axis.kind == "rtt_s" else mbps_from_bps(value), 4)


def _paragraph(text: str) -> list[str]:
    return _lines(text, WIDTH, "  ")


def _lines(text: str, width: int, indent: str = "") -> list[str]:
    """Break a text into lines, but not between a number and its unit."""
    held = re.sub(r"(\d) (?=(ms|s|J|kB|Mbit/s)\b)", "\\1\N{NO-BREAK SPACE}", text)
    lines = wrap(held, width, subsequent_indent=indent, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], align: str) -> list[str]:
    """Columns as wide as they need to be; the last one wraps."""
    cells = [header, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header) - 1)]
    indent = sum(widths) + 2 * len(widths)
    lines: list[str] = []
    for row in cells:
        fixed = [f"{text:{side}{width}}" for text, side, width in zip(row, align, widths, strict=False)]
        last = _lines(row[-1], max(WIDTH - indent, 20)) or [""]
        lines.append("  ".join([*fixed, last[0]]).rstrip())
        lines += [" " * indent + more for more in last[1:]]
    return lines

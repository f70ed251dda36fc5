"""Rules of a scenario that concern several of its keys at once."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from twin.scenario_file.complaints import Complaint, from_pydantic, nearest, shown, unknown_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twin.scenario_file.schema import FaultModel, LinkModel, PolicyModel, Scenario, WorkloadModel
    from twin.scenario_file.yamlplaces import Loc

_WORKLOAD_KEYS = {
    "closed": {"clients", "think_time_s"},
    "periodic": {"rate_rps"},
    "poisson": {"rate_rps"},
    "replay": {"file", "column"},
}
_WORKLOAD_NEEDS = {"closed": "clients", "periodic": "rate_rps", "poisson": "rate_rps", "replay": "file"}
_EXAMPLES = {"clients": 1, "rate_rps": 2.0, "file": "arrivals.txt"}


def broken_rules(scenario: Scenario) -> list[Complaint]:
    """Everything in a well-formed scenario that makes no sense."""
    return [
        *_devices(scenario),
        *(list(_links(scenario)) or _reach(scenario)),
        *_workload(scenario.workload),
        *_closed_loop(scenario),
        *_objective(scenario),
        *_names(scenario),
        *_faults(scenario),
        *(complaint for label, policy in scenario.policies.items() for complaint in _policy(label, policy)),
    ]


def policy_options(policy: PolicyModel) -> dict[str, Any]:
    """All options of a policy, the defaults filled in.

    Raises:
        pydantic.ValidationError: An option is malformed.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415 - `pydantic` loads its parts on demand

    from twin.policies import POLICIES  # noqa: PLC0415 - policies bring the search along

    kind = POLICIES[policy.kind]
    built = TypeAdapter(kind).validate_json(json.dumps(policy.model_extra or {}), strict=True)
    return {field.name: getattr(built, field.name) for field in fields(kind)}


def _devices(scenario: Scenario) -> Iterator[Complaint]:
    names = [device.name for device in scenario.devices]
    for position, device in enumerate(scenario.devices):
        loc: Loc = ("devices", position)
        first = names.index(device.name)
        if first != position:
            yield Complaint((*loc, "name"), f"`{device.name}` is also the name of devices.{first}; give it its own")
        if device.power and device.power.compute_w < device.power.idle_w:
            text = (
                f"is {device.power.compute_w:g}, less than idle_w ({device.power.idle_w:g}); "
                "give the whole power while computing"
            )
            yield Complaint((*loc, "power", "compute_w"), text, ((*loc, "power", "idle_w"),))


def _reach(scenario: Scenario) -> Iterator[Complaint]:
    names = [device.name for device in scenario.devices]
    reached = {names[0]}
    for _ in names:
        reached |= {name for link in scenario.links for name in link.between if reached.intersection(link.between)}
    for position, name in enumerate(names):
        if name not in reached:
            yield Complaint(("devices", position), f"no link leads to `{name}`; add one to `links`", (("links",),))


def _links(scenario: Scenario) -> Iterator[Complaint]:
    names = [device.name for device in scenario.devices]
    seen: dict[tuple[str, str], int] = {}
    for position, link in enumerate(scenario.links):
        loc: Loc = ("links", position)
        unknown = [(end, name) for end, name in enumerate(link.between) if name not in names]
        for end, name in unknown:
            yield Complaint((*loc, "between", end), f"there is no device `{name}`; {nearest(name, names)}")
        a, b = link.between
        if not unknown and names.index(a) >= names.index(b):
            remedy = f"write [{b}, {a}]" if a != b else "join two different devices"
            yield Complaint((*loc, "between"), f"must name the device nearer to the edge first; {remedy}")
        if link.between in seen:
            yield Complaint((*loc, "between"), f"links.{seen[link.between]} joins the same devices; remove one of them")
        seen.setdefault(link.between, position)
        yield from _rates(link, loc)


def _rates(link: LinkModel, loc: Loc) -> Iterator[Complaint]:
    given = [key for key in ("rate_bps", "up_bps", "down_bps") if getattr(link, key) is not None]
    if link.trace is not None and given:
        text = "the link already has a `trace`; give either the trace or constant rates"
        yield Complaint((*loc, given[0]), text, ((*loc, "trace"),))
    elif link.trace is None and given not in (["rate_bps"], ["up_bps", "down_bps"]):
        text = "give `trace`, or `rate_bps` and `rtt_s`, or `up_bps`, `down_bps` and `rtt_s`"
        causes = tuple((*loc, key) for key in ("trace", "rate_bps", "up_bps", "down_bps"))
        yield Complaint(loc, f"does not say how fast the link is; {text}", causes)
    elif link.trace is None and link.rtt_s is None:
        yield Complaint((*loc, "rtt_s"), "is missing; give the round-trip time beside the constant rate, such as 0.002")
    if link.trace is None and link.format is not None:
        yield Complaint((*loc, "format"), "there is no trace that it could be the format of; remove it")


def _workload(workload: WorkloadModel) -> Iterator[Complaint]:
    kind = workload.kind
    causes: tuple[Loc, ...] = (("workload", "kind"),)
    for key in sorted(set().union(*_WORKLOAD_KEYS.values()) - _WORKLOAD_KEYS[kind]):
        if getattr(workload, key) != type(workload).model_fields[key].default:
            kinds = " or ".join(f"`{name}`" for name, keys in _WORKLOAD_KEYS.items() if key in keys)
            text = f"does not go with `kind: {kind}`, only with {kinds}; remove it or change the kind"
            yield Complaint(("workload", key), text, causes)
    need = _WORKLOAD_NEEDS[kind]
    if getattr(workload, need) is None:
        text = f"is missing; `kind: {kind}` needs it, such as `{need}: {_EXAMPLES[need]}`"
        yield Complaint(("workload", need), text, causes)
    if workload.requests is None and workload.duration_s is None and kind != "replay":
        yield Complaint(("workload",), "never ends; give `requests` or `duration_s`", causes)
    if workload.warm_up_s and workload.warm_up_requests:
        yield Complaint(("workload", "warm_up_requests"), "give either `warm_up_s` or `warm_up_requests`, not both")
    for key, end in (("warm_up_s", "duration_s"), ("warm_up_requests", "requests")):
        limit = getattr(workload, end)
        if limit is not None and getattr(workload, key) >= limit:
            text = f"is {getattr(workload, key):g}; it must be less than {end} ({limit:g}), or nothing is counted"
            yield Complaint(("workload", key), text, (("workload", end),))


def _closed_loop(scenario: Scenario) -> Iterator[Complaint]:
    """A dropped client of a closed loop asks again at once, so that it would spin on a full queue."""
    clients = scenario.workload.clients
    if scenario.workload.kind != "closed" or clients is None:
        return
    for position, device in enumerate(scenario.devices):
        if device.queue_limit is not None and device.queue_limit < clients:
            text = (
                f"is {device.queue_limit}, less than the {clients} clients of the closed loop, which would ask again "
                "at once when dropped; raise it or remove it"
            )
            causes: tuple[Loc, ...] = (("workload", "clients"), ("workload", "kind"))
            yield Complaint(("devices", position, "queue_limit"), text, causes)


def _objective(scenario: Scenario) -> Iterator[Complaint]:
    objective = scenario.objective
    if objective.latency == 0 and objective.energy == 0:
        text = "the weights `latency` and `energy` are both 0; give at least one of them"
        yield Complaint(("objective",), text, (("objective", "latency"), ("objective", "energy")))
    without = [device.name for device in scenario.devices if device.power is None]
    if objective.energy > 0 and without:
        text = f"is {objective.energy:g}, but the power of `{without[0]}` is not known; give its `power` or weigh it 0"
        loc: Loc = ("devices", [device.name for device in scenario.devices].index(without[0]), "power")
        yield Complaint(("objective", "energy"), text, (loc,))
    if scenario.control.every_s is not None and scenario.control.every_requests is not None:
        text = "give either `every_s` or `every_requests`, not both"
        yield Complaint(("control", "every_requests"), text, (("control", "every_s"),))


def _names(scenario: Scenario) -> Iterator[Complaint]:
    """Names of devices outside links and faults."""
    names = [device.name for device in scenario.devices]
    used: list[tuple[Loc, str]] = [(("pinned", layer), name) for layer, name in scenario.pinned.items()]
    if scenario.switch.weights_from is not None:
        used.append((("switch", "weights_from"), scenario.switch.weights_from))
    for loc, name in used:
        if name not in names:
            yield Complaint(loc, f"there is no device `{name}`; {nearest(name, names)}")


def _faults(scenario: Scenario) -> Iterator[Complaint]:
    for position, fault in enumerate(scenario.faults):
        loc: Loc = ("faults", position)
        if fault.end_s <= fault.start_s:
            text = f"is {fault.end_s:g}; it must be later than start_s ({fault.start_s:g})"
            yield Complaint((*loc, "end_s"), text, ((*loc, "start_s"),))
        for earlier in scenario.faults[:position]:
            same = (earlier.kind, earlier.link, earlier.device) == (fault.kind, fault.link, fault.device)
            if same and earlier.start_s < fault.end_s and fault.start_s < earlier.end_s:
                text = f"overlaps with faults.{scenario.faults.index(earlier)} on the same target; make them one"
                yield Complaint(loc, text)
        yield from _fault_target(scenario, fault, loc)


def _fault_target(scenario: Scenario, fault: FaultModel, loc: Loc) -> Iterator[Complaint]:
    wanted = {"link" if fault.kind == "link_down" else "device", *(["slowdown"] if fault.kind == "device_slow" else [])}
    for key in ("link", "device", "slowdown"):
        given = getattr(fault, key) is not None
        if given and key not in wanted:
            yield Complaint((*loc, key), f"does not go with `kind: {fault.kind}`; remove it", ((*loc, "kind"),))
        if not given and key in wanted:
            yield Complaint((*loc, key), f"is missing; `kind: {fault.kind}` needs it", ((*loc, "kind"),))
    names = [device.name for device in scenario.devices]
    if fault.device is not None and fault.device not in names:
        text = f"there is no device `{fault.device}`; {nearest(fault.device, names)}"
        yield Complaint((*loc, "device"), text)
    pairs = [link.between for link in scenario.links]
    if fault.link is not None and fault.link not in pairs:
        known = " or ".join(f"[{a}, {b}]" for a, b in pairs) or "none, for there are no links"
        yield Complaint((*loc, "link"), f"no link joins [{', '.join(fault.link)}]; choose {known}")


def _policy(label: str, policy: PolicyModel) -> Iterator[Complaint]:
    from pydantic import ValidationError  # noqa: PLC0415 - `pydantic` loads its parts on demand

    from twin.policies import POLICIES  # noqa: PLC0415 - policies bring the search along

    loc: Loc = ("policies", label)
    if policy.kind not in POLICIES:
        yield Complaint((*loc, "kind"), f"there is no policy `{policy.kind}`; {nearest(policy.kind, POLICIES)}")
        return
    given = policy.model_extra or {}
    known = {field.name: field for field in fields(POLICIES[policy.kind])}
    wrong = [Complaint((*loc, key), unknown_key(key, known)) for key in given if key not in known]
    for key, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            wrong.append(Complaint((*loc, key), f"is {shown(value)}; it must be a finite number"))
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            wrong.append(Complaint((*loc, name), f"is missing; `kind: {policy.kind}` needs it", ((*loc, "kind"),)))
    if not wrong:
        try:
            policy_options(policy)
        except ValidationError as error:
            wrong = from_pydantic(error.errors(include_url=False), loc)
    yield from wrong

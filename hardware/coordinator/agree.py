"""What the machines of a testbed must agree on, and what readers of its figures should know of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twin.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hardware.coordinator.linkcheck import LinkCheck
    from twin.topology import Continuum

_KIND_WORDS = {
    "profile": "emulated: it computes, then waits until the profiled time has passed",
    "sleep": "emulated: it computes nothing and waits for the profiled time",
    "factor": "emulated: it computes, then waits in proportion",
}


def check_versions(names: Sequence[str], hellos: Sequence[Mapping[str, Any]]) -> None:
    """Machines must run one version of the project; another name at an address is a mistake in the inventory.

    Raises:
        MachineError: They do not, or there is such a mistake.
    """
    for name, hello in zip(names, hellos, strict=True):
        if hello["name"] != name:
            raise MachineError(
                f"the agent at the address of `{name}` is called `{hello['name']}`; correct the testbed file"
            )
    versions = {name: hello["versions"].get("continuum-twin") for name, hello in zip(names, hellos, strict=True)}
    if len(set(versions.values())) > 1:
        words = ", ".join(f"{name} {version}" for name, version in versions.items())
        raise MachineError(f"the machines run different versions of the project ({words}); install one everywhere")


def caveats(
    continuum: Continuum, machines: Sequence[Mapping[str, Any]], links: Sequence[LinkCheck], troubles: Sequence[str]
) -> list[str]:
    """What a reader of the figures should bear in mind, in sentences.

    Args:
        continuum: Names the devices.
        machines: What the machines said when they were set up.
        links: What their links gave.
        troubles: What went wrong, in words.
    """
    kinds = {kind: [x["name"] for x in machines if x["emulate"] == kind] for kind in _KIND_WORDS}
    said = [f"{', '.join(names)}: {_KIND_WORDS[kind]}." for kind, names in kinds.items() if names]
    for entry in links:
        link = continuum.links[entry.link]
        ends = (continuum.names[link.a], continuum.names[link.b])
        warning = entry.warning(ends if entry.direction == 0 else ends[::-1])
        said += [] if warning is None else [f"{warning}."]
    return [*said, *(f"{text}." for text in troubles)]

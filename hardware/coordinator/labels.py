"""What the answers of a run say about the pictures: labels, where it is known what the weights were trained to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.inputs import Label, categories, label, recognised

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from rich.console import Console

    from hardware.inputs import Pool
    from hardware.inventory import Inventory, RemoteWeights
    from hardware.node.weights import WeightsFile
    from twin.world import World

_FOLDER = "weights"


def weights_of(world: World, testbed: Inventory | None) -> RemoteWeights | None:
    """The file of weights that the machines of a scenario compute with; None for random ones.

    Raises:
        MachineError: A device of the scenario has no machine.
    """
    if testbed is None:
        return None
    model = world.problem.graph.model
    machines = testbed.in_order(world.problem.continuum.names)
    return next((x.weights[model] for x in machines if x.emulate != "sleep" and model in x.weights), None)


def weights_beside(testbed: Path | None, wanted: RemoteWeights | None) -> WeightsFile | None:
    """The file of weights as the coordinator finds it: in `weights` beside the testbed file; None for random ones.

    Raises:
        MachineError: It is not there, or is another one.
    """
    if testbed is None or wanted is None:
        return None
    from hardware.node.weights import WeightsFile, check_file  # noqa: PLC0415 - not needed with random weights

    file = WeightsFile(testbed.parent / _FOLDER / wanted.file, wanted.sha256)
    check_file(file)
    return file


def trained_as(model: str, weights: RemoteWeights | None) -> str | None:
    """Torchvision's name of the weights, if it is known."""
    if weights is None:
        return None
    return weights.pretrained or recognised(model, weights.sha256)


def labels(answers: Mapping[int, torch.Tensor], pool: Pool, model: str, pretrained: str) -> dict[str, Label]:
    """The label of each picture that was answered, by its name.

    Args:
        answers: Answers by position of their input.
        pool: The pictures.
        model: Name of the model.
        pretrained: Torchvision's name of the weights.

    Raises:
        MachineError: The model has no such weights.
    """
    names = categories(model, pretrained)
    found = {pool.names[position]: label(answer, names) for position, answer in sorted(answers.items())}
    return {name: seen for name, seen in found.items() if seen is not None}


def show_labels(
    answers: Mapping[int, torch.Tensor] | None, pool: Pool, model: str, weights: RemoteWeights | None, console: Console
) -> None:
    """Print a table of pictures and labels, or why there is none.

    Args:
        answers: Right answers by position of their input; None if none were kept.
        pool: The pictures.
        model: Name of the model.
        weights: The file of the weights; None for random ones.
        console: Where to print.
    """
    pretrained = trained_as(model, weights)
    found = labels(answers, pool, model, pretrained) if answers and pretrained else {}
    if not found:
        console.print(f"no labels: {_why_none(answers, model, weights, pretrained)}", soft_wrap=True)
        return
    from rich.table import Table  # noqa: PLC0415 - needed for a table only

    console.print(f"labels of {model} ({pretrained}) by the answers that were checked:")
    table = Table(box=None)
    table.add_column("picture")
    table.add_column("label")
    table.add_column("probability", justify="right")
    for name, seen in found.items():
        table.add_row(name, seen.name, f"{seen.probability:.1%}")
    console.print(table)


def _why_none(
    answers: Mapping[int, torch.Tensor] | None, model: str, weights: RemoteWeights | None, pretrained: str | None
) -> str:
    if weights is None:
        return "the weights are random; give files of trained ones as `weights` in a testbed file"
    if pretrained is None:
        return (
            f"what {weights.file} was trained to tell apart is not known; name it as `pretrained` in the testbed file"
        )
    if answers is None:
        return "no answers were kept; leave out --no-check"
    if not answers:
        return "no answer was checked and found right"
    return f"torchvision does not say what {model} with {pretrained} tells apart"

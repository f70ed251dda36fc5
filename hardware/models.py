"""The models that the project knows, built with seeded random weights.

Nothing is downloaded: times, bytes and cuts do not depend on what the weights are, and the output of a split
can be held against the whole model's output with any weights.
"""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any

from twin.errors import GraphError, MeasurementError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

    from torch import nn

INPUT_SHAPE = (1, 3, 224, 224)
"""Shape of one input image, batch first."""

MODELS: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {},
    "densenet121": {},
    "efficientnet_b0": {},
    "googlenet": {"aux_logits": False, "init_weights": False},
    "mobilenet_v2": {},
    "resnet50": {},
    "vgg16": {},
    "vit_b_16": {},
}
"""The allow-list: each model of torchvision by name, with the arguments of its constructor."""

_EMBEDDING_STD = 0.02
"""Standard deviation of the values put in place of an embedding that is initialised to zeros."""


def build_model(name: str, seed: int = 0) -> nn.Module:
    """Build a torchvision model with random weights, ready for inference (eval mode, CPU, float32).

    The weights are scaled so that the answer depends on the input in every digit: some models, as torchvision
    initialises them, answer zero or their last bias to everything, which would hide a wrong split. The state of
    the global random generator is left as it was.

    Args:
        name: One of `MODELS`.
        seed: Seed of the weights; the same seed gives the same weights.

    Raises:
        GraphError: The name is not in `MODELS`.
        MeasurementError: torch or torchvision is not installed.
    """
    check_names([name])
    torch = import_torch()
    try:
        from torchvision import models  # noqa: PLC0415 - slow to import
    except ImportError as error:
        raise MeasurementError(_missing("torchvision")) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = getattr(models, name)(weights=None, **MODELS[name])
        _scale_weights(model, torch)
    model.eval()
    return model


def _scale_weights(model: nn.Module, torch: ModuleType) -> None:
    """Give weights the variance 2 / fan-in (He et al. 2015), which keeps activations of one size through ReLU."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and not parameter.any():
                parameter.normal_(std=_EMBEDDING_STD)
        for module in model.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                fan_in = module.weight[0].numel()
                module.weight.mul_(math.sqrt(2 / fan_in) / module.weight.std())


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the model names, with `all` replaced by every model.

    Raises:
        GraphError: A name is not in `MODELS`.
    """
    chosen: list[str] = []
    for name in names:
        if name != "all" and name not in MODELS:
            near = difflib.get_close_matches(name, MODELS, 1)
            remedy = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(MODELS)}"
            raise GraphError(f"no model is called `{name}`: {remedy}")
        chosen += MODELS if name == "all" else [name]
    return tuple(dict.fromkeys(chosen))


def import_torch() -> ModuleType:
    """Import torch, which takes seconds, when it is needed.

    Raises:
        MeasurementError: torch is not installed.
    """
    try:
        import torch  # noqa: PLC0415 - slow to import
    except ImportError as error:
        raise MeasurementError(_missing("torch")) from error
    return torch


def _missing(package: str) -> str:
    return f"{package} is not installed; install it with `pip install 'continuum-twin[hardware]'`"

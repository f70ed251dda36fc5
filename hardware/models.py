"""The models that the project knows, built with seeded random weights.

Nothing is downloaded: times, bytes and cuts do not depend on what the weights are, and the output of a split
can be held against the whole model's output with any weights.
"""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.errors import GraphError, MeasurementError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

    from torch import Tensor, nn

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
"""Standard deviation of class tokens and position embeddings."""


def build_model(name: str, seed: int = 0) -> nn.Module:
    """Build a torchvision model with random weights, ready for inference (eval mode, CPU, float32).

    The same seed gives the same weights, bit by bit, on every kind of processor, so that machines of different kinds
    can hold the same model without sending it. (torch's own generator does not: its normal values differ in the last
    digits between processors with and without AVX2.) The weights are scaled so that the answer depends on the input
    in every digit: some models, as torchvision initialises them, answer zero or their last bias to everything, which
    would hide a wrong split. The state of the global random generators is left as it was.

    Args:
        name: One of `MODELS`.
        seed: Seed of the weights.

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
        model: nn.Module = getattr(models, name)(weights=None, **MODELS[name])
    _fill(model, seed, torch)
    model.eval()
    return model


def _fill(model: nn.Module, seed: int, torch: ModuleType) -> None:
    """Replace every weight that is initialised at random; those of normalising layers are constants and stay.

    Variances: 2 / fan-in (He et al. 2015), which keeps activations of one size through ReLU; projections of attention
    2 / (fan-in + fan-out) (Glorot and Bengio 2010).
    """
    draw = np.random.default_rng(seed)

    def put(tensor: Tensor, std: float) -> None:
        tensor.copy_(torch.from_numpy(_uniform(draw, tuple(tensor.shape), std)))

    with torch.no_grad():
        for module in model.modules():
            for parameter_name, parameter in module.named_parameters(recurse=False):
                if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                    fan_in = module.weight[0].numel()
                    put(parameter, math.sqrt(2 / fan_in) if parameter_name == "weight" else 1 / math.sqrt(3 * fan_in))
                elif parameter_name == "in_proj_weight":
                    put(parameter, math.sqrt(2 / sum(parameter.shape)))
                elif parameter.dim() > 1:
                    put(parameter, _EMBEDDING_STD)


def _uniform(draw: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    """Uniform float32 values of mean 0: integers, one exact difference and one rounded product, the same anywhere."""
    values = draw.random(shape, dtype=np.float32)
    values -= np.float32(0.5)
    values *= np.float32(std * math.sqrt(12))
    return values


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


def use_float32() -> None:
    """Let GPUs compute with all digits of float32 from now on.

    PyTorch lets convolutions round the factors of their products to 10 bits (TF32), which is off by more than some
    answers to different inputs are apart, so that a wrong split could not be told from it.

    Raises:
        MeasurementError: torch is not installed.
    """
    torch = import_torch()
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _missing(package: str) -> str:
    return f"{package} is not installed; install it with `pip install 'continuum-twin[hardware]'`"

"""What requests carry: seeded random tensors, or the pictures of a folder; and what an answer to a picture means.

A run draws on a small pool of inputs again and again: request r carries input r mod N. Times and bytes do not depend on
what the numbers are, and a pool can be made before the run, so that reading files costs no request any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchvision.models import get_model_weights

from hardware.models import check_names
from twin.errors import MachineError
from twin.scenario_file.complaints import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image

MOST_PICTURES = 64
"""Number of pictures of a folder that are used, the first ones by name: 39 MB at 224 x 224."""
_POOL = 16
_HEX_DIGITS = 8
"""Digits of a file's SHA-256 in the names of torchvision's files."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The inputs of a run.

    Attributes:
        tensors: One per input, each of the model's input shape, float32, contiguous, on the CPU.
        names: What each is called: a file name, or `random 3`.
        source: Where they come from, in words.
    """

    tensors: tuple[torch.Tensor, ...]
    names: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.tensors)

    def position(self, request: int) -> int:
        """Which input a request carries."""
        return request % len(self.tensors)

    def of(self, request: int) -> torch.Tensor:
        """The input of a request."""
        return self.tensors[self.position(request)]


@dataclass(frozen=True, slots=True)
class Label:
    """What a model sees in a picture.

    Attributes:
        name: The category.
        probability: Its share by softmax.
    """

    name: str
    probability: float


def random_pool(shape: Sequence[int], seed: int, n: int = _POOL) -> Pool:
    """Random inputs of mean 0 and variance 1, as normalised pictures have; the same on every kind of processor.

    Args:
        shape: Shape of one input, batch first.
        seed: Seed; another one than that of the weights does no harm.
        n: Number of distinct inputs.

    Raises:
        MachineError: `n` is less than 1.
    """
    if n < 1:
        raise MachineError(f"{n} inputs are asked for; a run needs at least 1")
    draw = np.random.default_rng([seed, n])
    width = np.float32(math.sqrt(12))
    tensors = tuple(
        torch.from_numpy((draw.random(tuple(shape), dtype=np.float32) - np.float32(0.5)) * width) for _ in range(n)
    )
    return Pool(tensors, tuple(f"random {k}" for k in range(n)), f"{n} random inputs, seed {seed}")


def picture_pool(
    folder: Path, model: str, shape: Sequence[int], pretrained: str | None = None, most: int = MOST_PICTURES
) -> Pool:
    """The pictures of a folder, resized, cropped and normalised as the model's weights prescribe.

    Args:
        folder: A folder; what in it has the ending of a picture is read, in the order of the names.
        model: Name of the model.
        shape: Shape of one input, batch first; a batch holds as many pictures in a row.
        pretrained: Torchvision's name of the weights, such as `IMAGENET1K_V1`; its default weights if not given.
        most: Number of pictures to read at most.

    Raises:
        MachineError: The folder cannot be read, holds no pictures, or one of them cannot be read.
    """
    paths = _pictures(folder)
    used = paths[:most]
    transform = _transform(model, pretrained)
    pictures = [transform(_opened(path)) for path in used]
    wanted = tuple(shape[1:])
    for path, picture in zip(used, pictures, strict=True):
        if tuple(picture.shape) != wanted:
            raise MachineError(
                f"{path}: becomes a tensor of shape {tuple(picture.shape)}, but {model} as traced takes {wanted}; "
                "choose other `pretrained` weights"
            )
    batch = [torch.stack([pictures[(k + i) % len(pictures)] for i in range(shape[0])]) for k in range(len(pictures))]
    left_out = f", the first of {len(paths)}" if len(paths) > len(used) else ""
    source = f"{len(used)} pictures{left_out} in {folder.name}"
    return Pool(tuple(batch), tuple(path.name for path in used), source)


def recognised(model: str, sha256: str) -> str | None:
    """Torchvision's name of weights by the SHA-256 of their file, which begins as the name of the file ends."""
    check_names([model])
    for weights in get_model_weights(model):
        if weights.url.rsplit("-", 1)[-1].split(".")[0] == sha256[:_HEX_DIGITS].lower():
            return str(weights.name)
    return None


def categories(model: str, pretrained: str) -> tuple[str, ...]:
    """Names of the classes that weights of torchvision tell apart; empty if they tell none apart. No download.

    Raises:
        MachineError: The model has no such weights.
    """
    return tuple(_weights(model, pretrained).meta.get("categories") or ())


def label(answer: torch.Tensor, names: Sequence[str]) -> Label | None:
    """The most likely category of the first picture in an answer, or None if the answer is of another length."""
    scores = answer.reshape(answer.shape[0], -1)[0].double()
    if len(scores) != len(names):
        return None
    shares = torch.softmax(scores, 0)
    best = int(shares.argmax())
    return Label(names[best], float(shares[best]))


def _weights(model: str, pretrained: str | None) -> Any:  # noqa: ANN401 - torchvision ships no types
    check_names([model])
    known = get_model_weights(model)
    if pretrained is None:
        return known.DEFAULT
    if pretrained not in known.__members__:
        raise MachineError(
            f"torchvision has no weights `{pretrained}` of {model}; {nearest(pretrained, list(known.__members__))}"
        )
    return known[pretrained]


def _transform(model: str, pretrained: str | None) -> Any:  # noqa: ANN401 - torchvision ships no types
    transform = _weights(model, pretrained).transforms()
    if model == "googlenet":
        # Torchvision's GoogLeNet turns the usual normalisation into this one itself, as its first layers, where its
        # weights need it; here the model starts after that.
        transform.mean = transform.std = [0.5, 0.5, 0.5]
    return transform


def _pictures(folder: Path) -> list[Path]:
    from PIL import Image  # noqa: PLC0415 - needed for pictures only

    endings = set(Image.registered_extensions())
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings and path.is_file())
    except OSError as error:
        raise MachineError(f"{folder}: cannot be read ({error.strerror}); name a folder of pictures") from error
    if not paths:
        raise MachineError(f"{folder}: holds no pictures; put some there, such as .jpg or .png files")
    return paths


def _opened(path: Path) -> Image:
    from PIL import Image  # noqa: PLC0415 - needed for pictures only

    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    # PIL answers broken files of some formats with a SyntaxError, and huge ones with an error of its own.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MachineError(f"{path}: is no picture that can be read ({error}); replace it or take it away") from error

"""The full weights of a model on one machine: seeded, or from a file that is checked; and their digest.

Every machine of a testbed holds all weights, so that a change of the partition moves none. The digest of what was
loaded is what the coordinator compares: machines that differ in one bit of one weight are refused before a run.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware.models import build_model, import_torch
from twin.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

_SAFETENSORS = (".safetensors",)
_TORCH = (".pt", ".pth", ".bin")
_RENAMED = (
    (re.compile(r"\.(norm|conv)\.([12])\."), r".\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
"""Names in torchvision's older files, and what its models call the same today (DenseNet, ViT)."""
_TRAINING_ONLY = {"googlenet": ("aux1.", "aux2.")}
"""Parts of a file that a model has in training only."""
_REFUSALS = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AssertionError),
    *(struct.error, pickle.UnpicklingError),
)
"""What torch and safetensors raise on files that hold something else."""
_SHOWN = 12
"""Characters of a digest that a message about several machines shows."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights.

    Attributes:
        path: Where it lies on this machine: `.safetensors`, or a state dict that torch saved (`.pt`, `.pth`, `.bin`).
        sha256: SHA-256 of the file, 64 hexadecimal digits.
    """

    path: Path
    sha256: str


def load_model(name: str, seed: int = 0, file: WeightsFile | None = None) -> nn.Module:
    """Build a model of the allow-list with its full weights, ready for inference (eval mode, CPU, float32).

    Args:
        name: One of `hardware.models.MODELS`.
        seed: Seed of the weights where no file is given.
        file: The file that holds the weights.

    Raises:
        GraphError: The model is not known.
        MeasurementError: torch or torchvision is not installed.
        MachineError: The file cannot be read, is another one than expected, or does not fit the model.
    """
    if file is not None:
        check_file(file)
    model = build_model(name, seed)
    if file is not None:
        held = model.state_dict()
        state = _fitting(read_state(file.path), held, name, file.path)
        model.load_state_dict(held | state)
    return model


def check_file(file: WeightsFile) -> None:
    """Compare a file's SHA-256 with the expected one, before anything in the file is looked at.

    Raises:
        MachineError: The file cannot be read, or its digest is another one.
    """
    try:
        with file.path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise MachineError(f"{file.path}: cannot be read ({error.strerror}); copy the weights there") from error
    if found != file.sha256.lower():
        raise MachineError(
            f"{file.path}: has the SHA-256 {found}, but {file.sha256} is expected; copy the file anew, or, if it is "
            "the right one, give its own digest as `sha256`"
        )


def read_state(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; no code in the file is run.

    Raises:
        MachineError: The file is of no known kind, or holds something else.
    """
    torch = import_torch()
    kind = path.suffix.lower()
    if kind not in (*_SAFETENSORS, *_TORCH):
        known = ", ".join((*_SAFETENSORS, *_TORCH))
        raise MachineError(f"{path}: ends in `{kind}`; a file of weights ends in one of {known}")
    try:
        state = _unpickled(path) if kind in _TORCH else _mapped(path)
    except _REFUSALS as error:
        raise MachineError(_unreadable(path, error)) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise MachineError(f"{path}: holds something else than tensors by name; save the model's state_dict()")
    return dict(state)


def digest(model: nn.Module) -> str:
    """SHA-256 over name, type, shape and bytes of all weights and buffers, in the order of their names."""
    return digest_of(model.state_dict())


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, type, shape and bytes of tensors, in the order of their names."""
    hashed = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        hashed.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        hashed.update(tensor.reshape(-1).numpy().data)
    return hashed.hexdigest()


def check_same(digests: Mapping[str, str], model: str) -> None:
    """Refuse machines whose weights differ.

    Args:
        digests: The digest of each machine's weights, by the machine's name.
        model: Name of the model.

    Raises:
        MachineError: They are not all the same.
    """
    counts = Counter(digests.values())
    if len(counts) > 1:
        groups = [
            f"{', '.join(name for name, found in digests.items() if found == value)}: {value[:_SHOWN]}..."
            for value, _ in counts.most_common()
        ]
        raise MachineError(
            f"the machines hold different weights of {model} ({'; '.join(groups)}); give all of them the same file, or "
            "install the same versions of the project, torchvision and numpy on all of them"
        )


def _unpickled(path: Path) -> object:
    import torch  # noqa: PLC0415 - slow to import

    # Nothing but tensors and plain containers is built, whatever the file asks for.
    return torch.load(path, map_location="cpu", weights_only=True)


def _mapped(path: Path) -> object:
    from safetensors import SafetensorError  # noqa: PLC0415 - brings torch along
    from safetensors.torch import load_file  # noqa: PLC0415 - as above

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    reason = str(error).split("\n", maxsplit=1)[0]
    return f"{path}: holds no weights that can be read ({reason}); save the model's state_dict() as safetensors"


def _fitting(state: dict[str, Tensor], held: Mapping[str, Tensor], model: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a file under the model's names.

    Raises:
        MachineError: Names, shapes or kinds of numbers differ from the model's.
    """
    left_out = _TRAINING_ONLY.get(model, ())
    renamed = {_renamed(key, held): value for key, value in state.items() if not key.startswith(left_out)}
    # Files of old versions of torch do not count the batches that they were trained on; inference does not read that.
    missing = [key for key in held if key not in renamed and not key.endswith(".num_batches_tracked")]
    faults = [_listed("lacks", missing), _listed("holds the unknown", [key for key in renamed if key not in held])]
    for key, tensor in renamed.items():
        if key in held and tensor.shape != held[key].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(held[key].shape)}"
            faults.append(f"gives `{key}` the shape {shapes}")
        elif key in held and tensor.is_floating_point() != held[key].is_floating_point():
            faults.append(f"gives `{key}` as {tensor.dtype} instead of {held[key].dtype}")
    faults = [fault for fault in faults if fault]
    if faults:
        more = f" (and {len(faults) - 2} more faults)" if len(faults) > 2 else ""
        raise MachineError(
            f"{path}: does not fit {model}: it {' and '.join(faults[:2])}{more}; give the state dict of torchvision's "
            f"{model} with 1000 classes"
        )
    return renamed


def _renamed(key: str, held: Mapping[str, Tensor]) -> str:
    if key not in held:
        for pattern, new in _RENAMED:
            if (candidate := pattern.sub(new, key)) in held:
                return candidate
    return key


def _listed(verb: str, keys: list[str]) -> str:
    if not keys:
        return ""
    return f"{verb} `{keys[0]}`" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")

"""What the files of a testbed have in common: strict forms, addresses, digests, keys, and how mistakes are told."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from hardware.models import MODELS
from twin.errors import MachineError
from twin.scenario_file.complaints import Complaint, from_pydantic, nearest, report
from twin.scenario_file.yamlplaces import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from twin.scenario_file.yamlplaces import Document, Loc

_GUIDE = "docs/testbed.md shows what it holds"
_ADDRESS = re.compile(r"tcp://(\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):([0-9]{1,5})")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_KEY = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
"""A CURVE key as text: 40 characters of Z85."""
_LAST_PORT = 65535


class Form(BaseModel):
    """Unknown keys, texts in place of numbers, NaN and infinities are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


FormT = TypeVar("FormT", bound=Form)


def _check_endpoint(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if not match or int(match[2]) > _LAST_PORT:
        raise PydanticCustomError("address", "it must be an address such as tcp://192.168.1.20:5600")
    return text


def _check_address(text: str) -> str:
    if _check_endpoint(text).endswith(":0"):
        raise PydanticCustomError("address", "port 0 stands for any free one; give the port that the agent listens on")
    if "*" in text:
        raise PydanticCustomError("address", "`*` stands for no machine; give its name or number")
    return text


def _check_sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise PydanticCustomError("sha256", "it must be 64 hexadecimal digits, as `sha256sum FILE` prints them")
    return text.lower()


Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
"""Where a machine listens; `*` stands for all its network interfaces, port 0 for any free port."""
Address = Annotated[str, AfterValidator(_check_address)]
"""Where a machine is reached."""
Sha256 = Annotated[str, AfterValidator(_check_sha256)]


def read_form(path: Path, form: type[FormT], rules: Callable[[FormT], Iterable[Complaint]]) -> tuple[FormT, Document]:
    """Read a YAML file into a form.

    Args:
        path: The file.
        form: Its form.
        rules: What else may be wrong in a well-formed file.

    Raises:
        ScenarioError: Something is wrong; the message holds a line for each fault with the file, the line, the place
            and the remedy.
    """
    document = read_yaml(path, _GUIDE)
    try:
        filled = form.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise report(document, {}, from_pydantic(error.errors(include_url=False), form=form)) from error
    if complaints := list(rules(filled)):
        raise report(document, {}, complaints)
    return filled, document


def unknown_models(loc: Loc, models: Iterable[str]) -> Iterator[Complaint]:
    """A complaint for each name that is no model of the project; `loc` is where the names stand as keys."""
    for name in models:
        if name not in MODELS:
            yield Complaint((*loc, name), f"no model is called so; {nearest(name, MODELS)}")


def public_key(text: str, folder: Path) -> bytes:
    """A CURVE public key from its text, or from the file of this path.

    Args:
        text: 40 characters of Z85, or a path from `folder`.
        folder: Folder of the file that names the key.

    Raises:
        MachineError: There is no such file, or no key in it.
    """
    path = folder / text
    if _KEY.fullmatch(text) and not path.exists():
        return text.encode()
    from zmq.auth import load_certificate  # noqa: PLC0415 - not needed for --help

    remedy = "make a pair of keys with `python -m hardware.keys NAME --out DIR` on that machine and copy NAME.key here"
    try:
        key, _ = load_certificate(path)
    except (OSError, ValueError) as error:
        raise MachineError(f"{path}: holds no public key that can be read; {remedy}") from error
    if not _KEY.fullmatch(key.decode("latin-1")):
        raise MachineError(f"{path}: its public key is not 40 characters of Z85; {remedy}")
    return key

"""What travels on a data lane: the tensors of one cut, an answer or a probe, with what the receiver must know of them.

On the wire a parcel is a head and one raw frame per tensor. The head is little-endian: version, kind, target device,
number of tensors, request, attempt, epoch; then per tensor the code of its dtype, its number of dimensions, its length
in bytes and its shape.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
"""Of the wire format; a peer that speaks another one is refused."""

Buffer: TypeAlias = "bytes | bytearray | memoryview"
"""Contiguous memory of one tensor; see `Parcel.buffers`."""

ITEM_BYTES = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float64": 8,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "bool": 1,
}
"""Bytes of one element, by the names that torch and numpy give to dtypes; the place in this table is the wire code."""

_HEAD = struct.Struct("<BBhHqii")
_TENSOR = struct.Struct("<BBQ")
_DTYPES = tuple(ITEM_BYTES)
_CODES = {dtype: code for code, dtype in enumerate(_DTYPES)}


class Kind(IntEnum):
    """Why a parcel travels."""

    WORK = 1
    """Tensors for the stage of the target device."""
    ANSWER = 2
    """The output of the last stage, on its way to the edge."""
    PROBE = 3
    """Bytes that measure a link and are then forgotten."""


_KINDS = {int(kind): kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Type and shape of one tensor.

    Attributes:
        dtype: A key of `ITEM_BYTES`.
        shape: Lengths of the dimensions, batch first; () for a single number.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor in memory.

        Raises:
            TransportError: The dtype is not one that travels.
        """
        if self.dtype not in ITEM_BYTES:
            raise TransportError(f"dtype {self.dtype} does not travel; use one of {', '.join(ITEM_BYTES)}")
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a receiver accepts, and how much of it may be unfinished at once.

    Attributes:
        tensors: Tensors in one parcel, and blobs in one control message.
        dims: Dimensions of one tensor.
        tensor_bytes: Bytes of one tensor or blob; ZeroMQ cuts off a peer that announces more.
        message_bytes: Bytes of all tensors of one parcel.
        text_bytes: Bytes of the JSON of a control message.
        window_parcels: Parcels of one lane that may have arrived without having been released.
        window_bytes: Their bytes; the parcel that crosses this line is still let in, so that a large one passes too.
    """

    tensors: int = 64
    dims: int = 8
    tensor_bytes: int = 256_000_000
    message_bytes: int = 512_000_000
    text_bytes: int = 16_000_000
    window_parcels: int = 64
    window_bytes: int = 64_000_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Parcel:
    """Tensors on their way from one device to another.

    Attributes:
        kind: Why it travels.
        request: Number of the request, or of the probe.
        attempt: 0 for the first try of a request, 1 for its replay.
        epoch: Plan epoch that the request was sent under.
        target: Number of the device that the parcel is for; a device on the way passes it on.
        tensors: Type and shape of each tensor.
        buffers: Their bytes in row-major order, one contiguous buffer each. Those of a received parcel are writable
            and owned by the parcel, so that `numpy.frombuffer` and `torch.frombuffer` take them without a copy and
            without a warning (not for 0 bytes, which `torch.frombuffer` refuses: make an empty tensor there).
            A buffer that was given to `Lane.send` must not change until its receipt has come or it is lost.
    """

    kind: Kind
    request: int
    attempt: int
    epoch: int
    target: int
    tensors: tuple[TensorSpec, ...]
    buffers: tuple[Buffer, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all buffers: the payload, without heads."""
        return sum(memoryview(buffer).nbytes for buffer in self.buffers)


@dataclass(frozen=True, slots=True)
class _Table:
    """The part of a head that tells the tensors, packed, and what the limits are held against."""

    packed: bytes
    lengths: tuple[int, ...]
    size_bytes: int
    longest_bytes: int
    dims: int


def head_of(parcel: Parcel, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the head of `parcel`; its buffers follow as frames of their own.

    Raises:
        TransportError: A buffer does not have the length that its dtype and shape ask for, a number has no room, or
            the parcel is over the limits.
    """
    table = _packed(parcel.tensors)
    lengths = table.lengths
    if (
        len(lengths) > limits.tensors
        or table.dims > limits.dims
        or table.longest_bytes > limits.tensor_bytes
        or table.size_bytes > limits.message_bytes
    ):
        raise TransportError(
            f"request {parcel.request}: {len(lengths)} tensors of {lengths} bytes and up to {table.dims} dimensions "
            f"are over the limits ({limits}); cut the model where less crosses, or raise the limits at both ends"
        )
    if len(lengths) != len(parcel.buffers):
        raise TransportError(f"a parcel names {len(lengths)} tensors and holds {len(parcel.buffers)} buffers")
    for spec, length, buffer in zip(parcel.tensors, lengths, parcel.buffers, strict=True):
        view = memoryview(buffer)
        if view.nbytes != length or not view.c_contiguous:
            raise TransportError(
                f"a buffer of {view.nbytes} bytes cannot be the {spec.dtype} tensor {tuple(spec.shape)} "
                f"of {length} bytes; give the contiguous tensor"
            )
    try:
        head = _HEAD.pack(
            VERSION, parcel.kind, parcel.target, len(lengths), parcel.request, parcel.attempt, parcel.epoch
        )
    except struct.error as error:
        raise TransportError(f"a number of request {parcel.request} does not fit into a head ({error})") from error
    return head + table.packed


def decode(frames: Sequence[Buffer], limits: Limits = DEFAULT_LIMITS) -> Parcel:
    """Return the parcel in `frames`: its head, then one buffer per tensor, which the parcel keeps without a copy.

    Nothing is allocated by a length that the head claims.

    Raises:
        TransportError: Whatever is wrong: another version, an unknown kind or dtype, a length that does not fit its
            shape or its frame, frames missing or left over, or more than the `limits` allow.
    """
    if not frames or len(frames[0]) < _HEAD.size:
        raise TransportError("a parcel without a head")
    head = bytes(frames[0])
    version, code, target, count, request, attempt, epoch = _HEAD.unpack_from(head)
    if version != VERSION or code not in _KINDS:
        raise TransportError(f"a parcel of version {version} and kind {code}; this end speaks version {VERSION}")
    if count > limits.tensors or count != len(frames) - 1:
        raise TransportError(f"a parcel of {count} tensors in {len(frames)} frames (at most {limits.tensors} tensors)")
    tensors, lengths = _unpacked(head[_HEAD.size :], count, limits)
    buffers = tuple(frames[1:])
    for length, buffer in zip(lengths, buffers, strict=True):
        if memoryview(buffer).nbytes != length:
            raise TransportError(f"a frame of {memoryview(buffer).nbytes} bytes holds a tensor of {length}")
    return Parcel(_KINDS[code], request, attempt, epoch, target, tensors, buffers)


@lru_cache(maxsize=512)
def _packed(tensors: tuple[TensorSpec, ...]) -> _Table:
    """Return the head's table of tensors; few cuts are in use, so most calls are repeats."""
    lengths = tuple(spec.size_bytes for spec in tensors)
    try:
        rows = [
            _TENSOR.pack(_CODES[spec.dtype], len(spec.shape), length) + struct.pack(f"<{len(spec.shape)}Q", *spec.shape)
            for spec, length in zip(tensors, lengths, strict=True)
        ]
    except struct.error as error:
        raise TransportError(f"shapes {[spec.shape for spec in tensors]} do not fit into a head ({error})") from error
    dims = max((len(spec.shape) for spec in tensors), default=0)
    return _Table(b"".join(rows), lengths, sum(lengths), max(lengths, default=0), dims)


@lru_cache(maxsize=512)
def _unpacked(table: bytes, count: int, limits: Limits) -> tuple[tuple[TensorSpec, ...], tuple[int, ...]]:
    """Return what `_packed` was given, and the lengths; every claim is checked against the limits before it is used."""
    tensors, lengths, place = [], [], 0
    for _ in range(count):
        if len(table) - place < _TENSOR.size:
            raise TransportError("the head of a parcel ends early")
        code, dims, length = _TENSOR.unpack_from(table, place)
        place += _TENSOR.size
        if code >= len(_DTYPES) or dims > limits.dims or len(table) - place < 8 * dims:
            raise TransportError(f"a tensor of dtype {code} and {dims} dimensions (at most {limits.dims})")
        spec = TensorSpec(_DTYPES[code], struct.unpack_from(f"<{dims}Q", table, place))
        place += 8 * dims
        if length > limits.tensor_bytes or length != spec.size_bytes:
            raise TransportError(f"a tensor of {length} bytes, not {spec.size_bytes} (at most {limits.tensor_bytes})")
        tensors.append(spec)
        lengths.append(length)
    if place != len(table) or sum(lengths) > limits.message_bytes:
        raise TransportError(f"a parcel of {sum(lengths)} bytes (at most {limits.message_bytes}), or a head too long")
    return tuple(tensors), tuple(lengths)

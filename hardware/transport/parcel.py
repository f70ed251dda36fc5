"""What travels on a data lane: the tensors of one cut, an answer or a probe, with what its receiver must know."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from twin.errors import TransportError

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


class Kind(IntEnum):
    """Why a parcel travels."""

    WORK = 1
    """Tensors for the stage of the target device."""
    ANSWER = 2
    """The output of the last stage, on its way to the edge."""
    PROBE = 3
    """Bytes that measure a link and are then forgotten."""


# Tuples: they are made, or are keys of caches, for each parcel, where frozen dataclasses take four times as long.
class TensorSpec(NamedTuple):
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


class Limits(NamedTuple):
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


class Parcel(NamedTuple):
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

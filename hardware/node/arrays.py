"""Arrays by name as bytes and back, without pickle."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping


def pack_arrays(columns: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as bytes (the format of `numpy.savez`)."""
    stream = io.BytesIO()
    np.savez(stream, **dict(columns))  # type: ignore[arg-type]  # numpy takes any names
    return stream.getvalue()


def unpack_arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays that `pack_arrays` packed.

    Raises:
        TransportError: They are something else.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as columns:
            return {name: columns[name] for name in columns.files}
    # Damaged bytes make numpy, zipfile and zlib raise nearly anything.
    except Exception as error:
        raise TransportError(
            f"columns that arrived cannot be read ({error}); use one version on every machine"
        ) from error

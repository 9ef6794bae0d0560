"""Arrays on their way through a file or a socket: type, shape and bytes, for msgpack."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


class PackedArray(msgspec.Struct, array_like=True):
    """One array of any shape."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def pack(array: NDArray[Any]) -> PackedArray:
    """`array`, ready to be encoded."""
    return PackedArray(array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())


def unpack(packed: PackedArray) -> NDArray[Any]:
    """The array again, read-only: it shares the bytes it came in."""
    return np.frombuffer(packed.data, dtype=np.dtype(packed.dtype)).reshape(packed.shape)

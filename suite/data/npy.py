"""NumPy's .npy format, read so that a damaged or hostile file ends in a DataError and a full disk in an OSError.

``np.load`` allocates what the header announces before it looks at the file, and ``np.save`` loses the error number of a
failed write; both matter here.
"""

from __future__ import annotations

import math
import os
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from suite.errors import DataError

# NumPy parses the header with Python's tokenizer and parser, which have their own ways to fail on odd bytes.
_MALFORMED = (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError, EOFError)


@dataclass(frozen=True)
class Header:
    """What a .npy file announces."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool

    @property
    def bytes(self) -> int:
        """Size of the values, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes], where: str) -> Header:
    """The header at the stream's place, versions 1.0 and 2.0.  Raises DataError."""
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran_order, dtype = read(stream)
    except (*_MALFORMED, KeyError) as error:
        raise DataError("is not an array in NumPy's .npy format", where=where) from error
    if dtype.hasobject:
        raise DataError("holds Python objects, which are never loaded", where=where)
    if any(length < 0 for length in shape):
        raise DataError(f"announces shape {shape}", where=where)
    return Header(tuple(shape), dtype, fortran_order)


def read_values(stream: IO[bytes], header: Header, where: str) -> NDArray[Any]:
    """Exactly the values the header announces, and then the end.  Check ``header.bytes`` first.  Raises DataError."""
    flat = np.empty(header.bytes, np.uint8)
    view, filled = flat.data, 0
    while filled < len(view) and (block := stream.read(min(len(view) - filled, 1 << 20))):
        view[filled : filled + len(block)] = block
        filled += len(block)
    if filled < len(view) or stream.read(1):
        extent = f"only {filled:,}" if filled < len(view) else "more"
        raise DataError(f"announces {header.bytes:,} bytes of values but holds {extent}", where=where)
    return flat.view(header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")


def write(path: Path, array: NDArray[Any]) -> None:
    """Write a C-ordered array and make it durable.  Raises OSError, with its number, if the disk is full."""
    with path.open("xb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.reshape(-1).view(np.uint8).data)
        stream.flush()
        os.fsync(stream.fileno())

"""NumPy archives that somebody else may have made: data alone, and never larger than the reader expects."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_arrays(data: bytes, names: Iterable[str], most_bytes: int) -> dict[str, NDArray[Any]]:
    """Read arrays of an archive that `np.savez` or `np.savez_compressed` wrote.

    Args:
        data: of the archive.
        names: of the arrays.
        most_bytes: that they may take all together; nothing is unpacked where they say that they take more.

    Raises:
        ValueError: it is no such archive, lacks an array, holds one of objects, or takes more.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [(name, archive.getinfo(f"{name}.npy")) for name in names]
            size = sum(part.file_size for _, part in parts)
            if size > most_bytes:
                raise ValueError(f"its arrays take {size:,} bytes, and at most {most_bytes:,} are read")
            return {name: _array(archive.read(part)) for name, part in parts}
    except (KeyError, OSError, EOFError, MemoryError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"it is no archive of arrays ({error})") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it is damaged ({error})") from error


def _array(data: bytes) -> NDArray[Any]:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    if kind.hasobject or int(np.prod(shape, dtype=object)) * kind.itemsize != len(data) - file.tell():
        raise ValueError("an array has not the bytes that it says")  # one that says too many is made before it is read
    file.seek(0)
    found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return found

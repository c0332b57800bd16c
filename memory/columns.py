"""Records as bytes: the columns one after the other, little-endian, compressed.

Why not JSON: it takes three times the room as it is and a fifth more compressed (docs/memory.md). And bytes need no
rule about how a number is written: every float comes back bit for bit, NaN and -0.0 included.
"""

from __future__ import annotations

import zlib
from dataclasses import fields
from typing import Any

import numpy as np

from domain.errors import InputError
from domain.telemetry import Records

CODEC = "zlib of little-endian columns"
"""What the documents call this form; which columns these are, and their order, belongs to the document's version."""
MOST_REQUESTS = 1_000_000
"""In one document, so in one slot: 96 MB of columns."""
_TYPES = {field.name: np.dtype("<f8") if field.name.endswith("_s") else np.dtype("<i8") for field in fields(Records)}


def pack(records: Records) -> bytes:
    """Return the columns of R requests; 8 bytes times R times the number of columns before compression.

    Raises:
        InputError: R is above MOST_REQUESTS.
    """
    if len(records) > MOST_REQUESTS:
        raise InputError(f"{len(records):,} requests ended in one slot; the memory keeps at most {MOST_REQUESTS:,}.")
    return zlib.compress(b"".join(getattr(records, name).astype(kind).tobytes() for name, kind in _TYPES.items()))


def unpack(data: bytes, requests: int) -> Records:
    """Return what `pack` was given.

    Raises:
        ValueError: the bytes are not the columns of so many requests.
    """
    if not 0 <= requests <= MOST_REQUESTS:
        raise ValueError(f"it says that {requests:,} requests ended, and at most {MOST_REQUESTS:,} can be read")
    size, unpacker = 8 * requests, zlib.decompressobj()
    whole = size * len(_TYPES)
    try:
        plain = unpacker.decompress(data, whole + 1)  # not more than it needs to show that it is too much
    except zlib.error as error:
        raise ValueError(f"its columns cannot be decompressed ({error})") from None
    if len(plain) <= whole and not unpacker.eof:
        raise ValueError("its columns break off")
    if len(plain) != whole:
        found = f"more than {whole}" if len(plain) > whole else f"{len(plain)}"
        raise ValueError(f"its {found} bytes are not {len(_TYPES)} columns of {requests} requests")
    parts: dict[str, Any] = {
        name: np.frombuffer(plain, kind, requests, offset=size * place).astype(kind.newbyteorder("="))
        for place, (name, kind) in enumerate(_TYPES.items())
    }
    return Records(**parts)

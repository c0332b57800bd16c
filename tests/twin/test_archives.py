"""Archives of arrays: what NumPy wrote comes back, and nothing that somebody made up is believed."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.archives import read_arrays

Save = Callable[..., None]


def archive(save: Save = np.savez, **arrays: Any) -> bytes:
    out = io.BytesIO()
    save(out, **arrays)
    return out.getvalue()


def with_header(shape: str, kind: str = "<i8") -> bytes:
    """An archive whose one array says that it has this shape, and holds eight bytes."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(8))
    return out.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.zeros((0, 4)), np.array(3.5), np.ones((2, 2), order="F")]
)
def test_what_numpy_wrote_comes_back(save: Save, array: Any) -> None:
    found = read_arrays(archive(save, a=array, b=np.arange(3)), ["a"], 1_000)
    assert list(found) == ["a"]
    assert (found["a"].dtype, found["a"].shape) == (array.dtype, array.shape)
    assert np.array_equal(found["a"], array)


def test_a_small_archive_that_unpacks_to_much_is_not_unpacked() -> None:
    bomb = archive(np.savez_compressed, a=np.zeros(1 << 25))
    assert len(bomb) < 500_000
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"its arrays take 268,435,\d+ bytes, and at most 1,000,000 are read"):
        read_arrays(bomb, ["a"], 1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(2,)", "(0,)", "(-1,)", "(2147483648, 4294967296, 2)"])
def test_an_array_that_says_more_or_less_than_it_holds_is_not_made(shape: str) -> None:
    with pytest.raises(ValueError, match="an array has not the bytes that it says"):
        read_arrays(with_header(shape), ["a"], 1_000)
    assert read_arrays(with_header("(1,)"), ["a"], 1_000)["a"].tolist() == [0]


def test_objects_are_not_made() -> None:
    with pytest.raises(ValueError, match="an array has not the bytes that it says"):
        read_arrays(archive(a=np.array([{1}, None], dtype=object)), ["a"], 10_000)


@given(st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_a_damaged_archive_is_read_or_named_and_nothing_else(at: int, byte: int, cut: bool) -> None:
    data = bytearray(archive(np.savez_compressed, a=np.arange(20)))
    at = min(at, len(data) - 1)
    data[at] = byte
    try:
        read_arrays(bytes(data[:at] if cut else data), ["a"], 10_000)
    except ValueError:
        return


def test_an_array_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"b\.npy"):
        read_arrays(archive(a=np.zeros(1)), ["a", "b"], 1_000)

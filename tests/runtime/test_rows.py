"""Parquet files of somebody else's: of the form that a run writes, and of a size that their bytes can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.results.rows import read_rows


def written(path: Path, rows: int = 6, **columns: Any) -> Path:
    """Two families on two seeds, with a column of names and one of numbers."""
    table: dict[str, Any] = {
        "family": pa.array(["RL", "RF"] * (rows // 2)).dictionary_encode(),
        "seed": np.arange(rows) // 2 % 2,
        "lm": pa.array(["chat", None, "draw"] * (rows // 3)),
        "arrival_s": np.arange(rows) / 4,
    }
    pq.write_table(pa.table({**table, **columns}), path)
    return path


def test_rows_of_one_family_on_one_seed_are_read_with_names_as_dictionaries(tmp_path: Path) -> None:
    table = read_rows(written(tmp_path / "x.parquet"), "RL", 0, ["lm"], ["arrival_s"])
    assert table.column("arrival_s").to_pylist() == [0.0, 1.0]
    assert table.column("lm").to_pylist() == ["chat", None]
    assert pa.types.is_dictionary(table.column("lm").type)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"lm": np.arange(6)}, "does not hold names in its column lm"),
        ({"lm": pa.array([["chat"]] * 6)}, "does not hold names in its column lm"),
        ({"lm": pa.array([b"chat"] * 6)}, "does not hold names in its column lm"),
        ({"arrival_s": pa.array(["1.0"] * 6)}, "does not hold numbers in its column arrival_s"),
        ({"arrival_s": pa.array([[1.0] * 1000] * 6)}, "does not hold numbers in its column arrival_s"),
        ({"arrival_s": pa.array([None] * 6, pa.float64())}, "lacks a number in its column arrival_s"),
        ({"seed": pa.array(["0"] * 6)}, "does not hold numbers in its column seed"),
        ({"family": np.arange(6)}, "does not hold names in its column family"),
    ],
)
def test_a_column_of_another_form_is_named(columns: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_rows(written(tmp_path / "x.parquet", **columns), "RL", 0, ["lm"], ["arrival_s"])


def test_a_missing_column_and_a_file_that_is_none_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="lacks a column: .*origin"):
        read_rows(path, "RL", 0, ["origin"], [])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read"):
        read_rows(path, "RL", 0, ["lm"], [])


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(tmp_path: Path) -> None:
    path, rows = tmp_path / "x.parquet", 3_000_000
    same = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["RL"])
    zeros = np.zeros(rows)
    pq.write_table(pa.table({"family": same, "seed": zeros, "lm": same, "arrival_s": zeros}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    before = pa.total_allocated_bytes()
    with pytest.raises(ValueError, match=r"says that it holds 3,000,000 rows in [0-9,]+ bytes"):
        read_rows(path, "RL", 0, ["lm"], ["arrival_s"])
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_a_long_name_that_stands_in_many_rows_stays_one_name(tmp_path: Path) -> None:
    rows = 60_000
    long = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["x" * 100_000])
    path = written(tmp_path / "x.parquet", rows, lm=long)
    pool = pa.default_memory_pool()
    table = read_rows(path, "RL", 0, ["lm"], ["arrival_s"])
    assert len(table) == 15_000
    assert pool.max_memory() < 1_000_000_000  # as plain texts it would take six times as much

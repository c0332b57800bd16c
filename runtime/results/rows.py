"""Rows of a Parquet file that somebody else may have made: checked for form and size before anything is unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FREE_ROWS = 100_000
"""Rows that a file of any size may hold."""
ROWS_PER_BYTE = 1
"""Rows that it may hold beyond them for each of its bytes. A request takes about 32 bytes, a slot in which nothing
happens 6; a file that was made to swell holds thousands for each."""


def read_rows(
    path: Path, family: str, seed: int, names: Sequence[str], numbers: Sequence[str], per_byte: int = ROWS_PER_BYTE
) -> pa.Table:
    """Read columns of the rows of one family on one seed.

    Args:
        path: of the file.
        family: code.
        seed: of the run.
        names: columns that hold names, or none in some rows; they come as dictionaries.
        numbers: columns that hold a number in every row.
        per_byte: rows that the file may hold for each of its bytes, beyond FREE_ROWS.

    Raises:
        ValueError: it is no Parquet file, a column is missing or of another kind, or it says that it holds more rows
            than its bytes can.
        OSError: it cannot be read.
    """
    numbers, names, size = [*numbers, "seed"], [*names, "family"], path.stat().st_size
    try:
        with pq.ParquetFile(path) as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
        if rows > FREE_ROWS + per_byte * size:
            raise ValueError(f"says that it holds {rows:,} rows in {size:,} bytes")
        for columns, fits, what in ((numbers, _is_number, "numbers"), (names, _is_name, "names")):
            for name in columns:
                if not fits(schema.field(name).type):
                    raise ValueError(f"does not hold {what} in its column {name}")
        wanted = [("family", "==", family), ("seed", "==", seed)]
        table = pq.read_table(path, columns=[*names, *numbers], filters=wanted, read_dictionary=names)
    except KeyError as error:
        raise ValueError(f"lacks a column: {str(error.args[0]).rstrip('.')}") from None
    except pa.ArrowException as error:
        raise ValueError(f"cannot be read ({str(error).splitlines()[0].rstrip('.')})") from None
    for name in numbers:
        if table.column(name).null_count:
            raise ValueError(f"lacks a number in its column {name}")
    return table


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_name(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

"""A copy of a store holds what its write-ahead log holds, and the store stays as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from domain.errors import InputError
from memory import copying
from memory.copying import copy_store


def made(path: Path) -> sqlite3.Connection:
    """A store whose second row is in its log alone, and stays there while the connection is open."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE rows (n)")
    connection.execute("INSERT INTO rows VALUES (1)")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("INSERT INTO rows VALUES (2)")
    connection.commit()
    return connection


def rows(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM rows ORDER BY n")]


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the index of the log, in which readers note that they read."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}


@pytest.mark.parametrize("name", ["memory.sqlite", "a name? with #, % and 100%.sqlite"])
def test_a_copy_holds_what_is_in_the_log(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with closing(made(folder / name)):
        before = contents(folder)
        copy_store(folder / name, tmp_path / "copy")
        assert contents(folder) == before
    assert rows(tmp_path / "copy") == [1, 2]
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


def test_a_store_that_was_closed_is_copied_and_nothing_comes_to_lie_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    made(folder / "memory.sqlite").close()
    before = contents(folder)
    copy_store(folder / "memory.sqlite", tmp_path / "copy")
    assert rows(tmp_path / "copy") == [1, 2]
    assert contents(folder) == before


def test_a_log_that_a_kill_left_in_a_folder_that_cannot_be_written_is_copied_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = copying._backup

    def refused(address: str, target: Path) -> None:
        if "immutable" not in address:
            target.write_text("begun")
            raise sqlite3.OperationalError("unable to open database file")
        whole(address, target)

    monkeypatch.setattr(copying, "_backup", refused)
    with closing(made(tmp_path / "memory.sqlite")):
        copy_store(tmp_path / "memory.sqlite", tmp_path / "copy")
    assert rows(tmp_path / "copy") == [1, 2]


def test_what_is_no_store_is_one_sentence_and_leaves_no_copy(tmp_path: Path) -> None:
    (tmp_path / "memory.sqlite").write_text("no database, but long enough to be looked at as one" * 20)
    for name in ("memory.sqlite", "nowhere.sqlite"):
        with pytest.raises(InputError, match=f"{name} cannot be read"):
            copy_store(tmp_path / name, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()

"""Files of JSON lines: readable while they grow, and after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.results.lines import line_of, whole_lines, written_lines


def test_a_line_can_be_read_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with written_lines(path) as write:
        for count, value in enumerate(({"slot": 0, "routes": None}, [1, "é"]), start=1):
            write(value)
            lines = whole_lines(path)
            assert len(lines) == count
            assert json.loads(lines[-1]) == value
    assert whole_lines(path)[0] == line_of({"slot": 0, "routes": None}) == '{"slot":0,"routes":null}'


def test_a_line_that_was_not_finished_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with written_lines(path) as write:
        write("whole")
    with path.open("ab") as file:
        file.write(b'{"torn": "\xc3')
    assert whole_lines(path) == ['"whole"']


def test_a_file_that_was_there_is_written_anew_and_one_that_was_not_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert whole_lines(path) == []
    for value in (1, 2):
        with written_lines(path) as write:
            write(value)
    assert whole_lines(path) == ["2"]


def test_a_file_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_lines(tmp_path / "nowhere" / "a.jsonl"):
        pass


def test_the_old_file_stays_until_the_new_one_has_what_it_starts_with(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("1\n2\n")

    def start() -> Iterator[int]:
        yield 1
        assert whole_lines(path) == ["1", "2"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), written_lines(path, start()):
        pass
    assert whole_lines(path) == ["1", "2"]
    with written_lines(path, [1, 2]) as write:
        write(3)
    assert whole_lines(path) == ["1", "2", "3"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]

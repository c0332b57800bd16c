"""Compiled code is kept where a user may write and is right when sources change; where it cannot be, no run stops."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from twin import caches, compiled
from twin.caches import cache_folder, writable_folder
from twin.compiled import code_folder, stamp


def test_a_folder_that_is_named_wins_and_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cache_folder({"EDGEWISE_CACHE": "/image/cache", "HOME": str(tmp_path)}) == Path("/image/cache")
    assert cache_folder({"EDGEWISE_CACHE": "here", "HOME": str(tmp_path)}) == tmp_path / "here"
    assert cache_folder({"EDGEWISE_CACHE": "~/there", "HOME": str(tmp_path)}) == tmp_path / "there"
    assert list(tmp_path.iterdir()) == []


def test_else_it_is_the_users_cache_folder(tmp_path: Path) -> None:
    told, home = tmp_path / "told", tmp_path / "home"
    home.mkdir()
    assert cache_folder({"XDG_CACHE_HOME": str(told), "HOME": str(home)}) == told / "edgewise"
    assert cache_folder({"XDG_CACHE_HOME": "not/absolute", "HOME": str(home)}) == home / ".cache" / "edgewise"
    assert (told / "edgewise").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("home", ["", "/nowhere", "relative", "/dev/null"])
def test_else_a_private_one_for_temporary_files_and_no_folder_is_made_for_a_home_that_is_none(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    place = tmp_path / "tmp"
    place.mkdir()
    found = cache_folder({"HOME": home, "TMPDIR": str(place)})
    assert found == place / f"edgewise-{os.geteuid()}"
    assert found.stat().st_mode & 0o777 == 0o700
    assert cache_folder({"HOME": home, "TMPDIR": str(place)}) == found
    assert list(tmp_path.iterdir()) == [place]
    assert not Path("/nowhere").exists()


@pytest.mark.parametrize("trap", ["file", "link", "for all to write", "of another"])
def test_a_temporary_folder_that_somebody_else_may_write_to_is_not_taken(
    trap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "TEMPORARY", ())
    planted = tmp_path / f"edgewise-{os.geteuid()}"
    if trap == "file":
        planted.write_text("")
    elif trap == "link":
        (tmp_path / "elsewhere").mkdir()
        planted.symlink_to(tmp_path / "elsewhere")
    elif os.geteuid() and trap == "of another":
        pytest.skip("only root can make a folder that is another's")
    else:
        planted.mkdir()
        planted.chmod(0o777) if trap == "for all to write" else os.chown(planted, 12345, -1)
    assert cache_folder({"HOME": "/nowhere", "TMPDIR": str(tmp_path)}) is None


def test_plots_are_kept_elsewhere_where_the_named_folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    named = {"EDGEWISE_CACHE": str(tmp_path / "file"), "HOME": str(tmp_path)}
    assert writable_folder(named) == tmp_path / ".cache" / "edgewise"


def test_numbas_own_setting_is_heeded_and_edgewises_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEWISE_CACHE", raising=False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/numba")
    assert code_folder() == Path("/numba")
    monkeypatch.setenv("EDGEWISE_CACHE", "/edgewise")
    assert code_folder() == Path("/edgewise/code")


def load(folder: Path, number: str = "2.0") -> ModuleType:
    """A compiled function that inlines another from another file, whose constant is `number`."""
    (folder / "inner_part.py").write_text(
        f"from twin.compiled import compiled_alone\nFACTOR = {number}\n@compiled_alone\ndef part(x: float) -> float:\n"
        "    return FACTOR * x\n"
    )
    (folder / "outer_part.py").write_text(
        "from inner_part import part\nfrom twin.compiled import compiled_alone\n@compiled_alone\n"
        "def whole(x: float) -> float:\n    return part(x) + 1.0\n"
    )
    for name in ("inner_part", "outer_part"):
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # what a plain import would do
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; modules and compiled functions that it adds are forgotten."""
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "KEPT", [])
    for name in ("inner_part", "outer_part"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    compiled._digest.cache_clear()
    compiled._say.cache_clear()
    return tmp_path / "cache"


def hits(function: Any) -> int:
    """How often a dispatcher found its code."""
    return sum(function.stats.cache_hits.values())


def test_the_second_process_loads_what_the_first_compiled(kept: Path, tmp_path: Path) -> None:
    assert load(tmp_path).whole(3.0) == 7.0
    again = load(tmp_path).whole
    assert again(3.0) == 7.0
    assert hits(again) == 1


def test_code_that_was_inlined_from_a_file_that_changed_is_compiled_anew(kept: Path, tmp_path: Path) -> None:
    first = load(tmp_path).whole
    assert first(3.0) == 7.0
    second = load(tmp_path, "5.0").whole
    assert stamp(first.py_func) != stamp(second.py_func)
    assert second(3.0) == 16.0
    assert hits(second) == 0


def test_a_damaged_file_costs_a_compilation_and_is_mended(kept: Path, tmp_path: Path) -> None:
    load(tmp_path).whole(3.0)
    for file in kept.rglob("outer_part*.nb?"):
        file.write_bytes(file.read_bytes()[:40])
    damaged = load(tmp_path).whole
    assert damaged(3.0) == 7.0
    assert hits(damaged) == 0
    mended = load(tmp_path).whole
    assert mended(3.0) == 7.0
    assert hits(mended) == 1


def test_a_folder_that_cannot_be_written_is_said_once_and_stops_nothing(
    kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept.write_text("a file in the way")
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path).whole(3.0) == 7.0
        assert load(tmp_path).whole(4.0) == 9.0
    assert len(caplog.messages) == 1
    assert "every start compiles it anew" in caplog.text
    assert "EDGEWISE_CACHE names another folder" in caplog.text


def test_where_there_is_no_folder_at_all_it_is_said_once_and_stops_nothing(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiled, "code_folder", lambda: None)
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path).whole(3.0) == 7.0
    assert len(caplog.messages) == 1
    assert "there is no folder to keep it in; EDGEWISE_CACHE names one" in caplog.text
    assert not kept.exists()


def test_a_helper_process_does_not_say_it_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("multiprocessing.parent_process", lambda: "the process that a person sees")
    kept.write_text("a file in the way")
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path).whole(3.0) == 7.0
    assert caplog.messages == []

"""A container that runs as a user without a home, with an installation that this user may not write to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.other_user import USER, as_other_user

HOMELESS = [{"HOME": "/"}, {}, {"HOME": "/nowhere"}]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can reach and write to, which pytest's own are not; cleared of the user's caches."""
    place = Path(tempfile.mkdtemp(prefix="edgewise-other-", dir="/tmp"))
    place.chmod(0o777)
    (place / "tmp").mkdir()
    (place / "tmp").chmod(0o777)
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize(
    "home", [HOMELESS[0], *(pytest.param(h, marks=pytest.mark.live) for h in HOMELESS[1:])], ids=str
)
def test_a_command_works_without_a_home_and_leaves_nothing_behind(home: dict[str, str], folder: Path) -> None:
    done = as_other_user(["families"], {**home, "TMPDIR": str(folder / "tmp")}, folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(entry.name for entry in folder.iterdir()) == ["tmp"]


@pytest.mark.live
@pytest.mark.parametrize("home", HOMELESS[:2], ids=str)
def test_a_run_without_a_home_keeps_its_code_and_its_plots_list_in_a_private_folder(
    home: dict[str, str], folder: Path
) -> None:
    environ = {**home, "TMPDIR": str(folder / "tmp")}
    for out in ("first", "second"):
        done = as_other_user(["run", "-f", "AL", "--slots", "2", "--out", out], environ, folder)
        assert done.returncode == 0, done.stderr
        assert "Matplotlib" not in done.stderr
        assert "compile" not in done.stderr
    assert sorted(entry.name for entry in folder.iterdir()) == ["first", "second", "tmp"]
    private = folder / "tmp" / f"edgewise-{USER}"
    assert private.stat().st_mode & 0o777 == 0o700
    assert sorted(entry.name for entry in private.iterdir()) == ["code", "matplotlib"]


@pytest.mark.live
def test_code_that_was_compiled_ahead_serves_a_user_who_can_write_nowhere_but_to_the_run(folder: Path) -> None:
    cache, runs = folder / "cache", folder / "runs"
    made = as_other_user(["compile", "--cache", str(cache)], {"HOME": "/"}, folder)
    assert made.returncode == 0, made.stderr
    assert f"kept in {cache / 'code'}" in made.stdout
    runs.mkdir()
    runs.chmod(0o777)
    for entry in (folder, *cache.rglob("*"), cache):
        entry.chmod(0o555 if entry.is_dir() else 0o444)
    environ = {"HOME": "/", "EDGEWISE_CACHE": str(cache), "TMPDIR": str(folder / "tmp"), "NUMBA_DEBUG_CACHE": "1"}
    done = as_other_user(["run", "-f", "RH", "--slots", "2", "--out", str(runs / "one")], environ, folder)
    assert done.returncode == 0, done.stderr
    assert "data loaded from" in done.stdout
    assert "data saved to" not in done.stdout


@pytest.mark.live
def test_a_named_folder_that_cannot_be_written_is_said_once_and_the_run_goes_on(folder: Path) -> None:
    environ = {"HOME": "/", "NUMBA_CACHE_DIR": "/proc/none", "TMPDIR": str(folder / "tmp")}
    done = as_other_user(["run", "-f", "AL", "--slots", "2", "--out", "one"], environ, folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compiled code is not kept, so every start compiles it anew: /proc/none") == 1


def test_what_cannot_be_kept_is_not_compiled_ahead(folder: Path) -> None:
    refused = as_other_user(["compile", "--cache", "/proc/none"], {"HOME": "/"}, folder)
    assert refused.returncode == 1
    assert refused.stderr.startswith("edgewise: /proc/none")
    assert "Traceback" not in refused.stderr


WRITERS = [
    ("run", "-f", "RL", "--slots", "1", "--out", "closed/run"),
    ("run", "-f", "RL", "--slots", "1", "--via-graph", "--memory", "closed/m.sqlite", "--out", "open"),
    ("compare", "-f", "RR", "--slots", "1", "--out", "closed/run"),
    ("testbed", "show", "--generate", "3", "--out", "closed/t.yaml"),
    ("compile", "--cache", "closed/cache"),
]


@pytest.mark.live
@pytest.mark.parametrize("command", WRITERS, ids=" ".join)
def test_a_folder_of_somebody_else_is_one_sentence_and_status_1(command: tuple[str, ...], folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o755)
    refused = as_other_user(command, {"HOME": "/", "TMPDIR": str(folder / "tmp")}, folder)
    assert refused.returncode == 1, refused.stderr
    said = refused.stderr.splitlines()[-1]
    assert said.startswith("edgewise: ")
    assert "closed" in said
    assert "Permission denied" in said
    assert "Traceback" not in refused.stderr

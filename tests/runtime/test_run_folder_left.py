"""What another run has left under the name: kept, said, and there to be gone on with; and folders that break off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InputError
from runtime.results import durable, run_folder
from runtime.results.differing import differences, told
from runtime.results.run_folder import RunFolder

NOW = {
    "settings.yaml": "slots: 4\nagents: {slot_budget: {seconds: 29.0}, models: {planner: {model: m}}}\n",
    "testbed.yaml": "name: tiny\nnodes: [{name: north, cpu_cores: 8}, {name: south, cpu_cores: 4}]\n",
    "versions.json": '{"commit": "b", "code_sha256": "2", "packages": {"numpy": "2.4"}}\n',
    "parts/.memory.json": '{"--memory": "/a/m.sqlite"}\n',
}


def changed(name: str, before: str, after: str) -> dict[str, str]:
    assert before in NOW[name]
    return {**NOW, name: NOW[name].replace(before, after)}


def begin_and_die(target: Path, identity: dict[str, str], part: str | None = "1-RR") -> None:
    with RunFolder.named(target) as folder:
        folder.begin(identity)
        folder.keep_request("asked")
        if part is not None:
            with folder.new_part(part) as draft:
                (draft / "result.json").write_text("{}")


@pytest.mark.parametrize(
    ("was", "sentence"),
    [
        (changed("settings.yaml", "29.0", "30.0"), "agents.slot_budget.seconds was 30.0, is 29.0 now"),
        (changed("settings.yaml", "model: m", "model: n"), "agents.models.planner.model was n, is m now"),
        (changed("testbed.yaml", "cores: 4", "cores: 5"), "the testbed's nodes.south.cpu_cores was 5, is 4 now"),
        (changed("versions.json", '"2.4"', '"2.3"'), "packages.numpy was 2.3, is 2.4 now"),
        ({**NOW, "versions.json": '{"commit": "a", "code_sha256": "1", "packages": {"numpy": "2.4"}}'},
         "commit was a, is b now"),
        (changed("versions.json", '"code_sha256": "2"', '"code_sha256": "1"'), "code_sha256 was 1, is 2 now"),
        (changed("parts/.memory.json", "/a/m.sqlite", "in the run folder"),
         "--memory was in the run folder, is /a/m.sqlite now"),
    ],
)  # fmt: skip
def test_what_differs_is_named_and_what_was_done_is_set_aside(
    was: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    begin_and_die(tmp_path / "run", was)
    with RunFolder.named(tmp_path / "run") as folder:
        assert not folder.begin(NOW)
        assert folder.left is not None
        assert (folder.left.name, folder.left.differs) == (tmp_path / "run-interrupted", sentence)
        assert folder.left.other_code == ("versions.json" in {n for n in NOW if NOW[n] != was[n]})
    assert RunFolder.killed(tmp_path / "run-interrupted") == "asked"
    with RunFolder.named(tmp_path / "run-interrupted") as aside:
        assert aside.begin(was)
        assert aside.part("1-RR").is_dir()
        assert aside.left is None


def test_a_commit_that_changes_no_code_is_no_difference() -> None:
    assert differences(NOW, changed("versions.json", '"b"', '"c"')) == []
    assert differences({**NOW, "testbed.yaml": None}, NOW)[0] == "the testbed's name was none, is tiny now"
    assert told([str(k) for k in range(6)]) == "0; 1; 2; 3; and 2 more"


def test_a_second_one_is_set_aside_beside_the_first(tmp_path: Path) -> None:
    for load in ("1", "2", "3"):
        begin_and_die(tmp_path / "run", {**NOW, "settings.yaml": f"load: {load}\n"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".run-interrupted-2.partial", ".run-interrupted.partial", ".run.partial",
    ]  # fmt: skip


def test_a_run_that_had_done_nothing_is_not_kept(tmp_path: Path) -> None:
    begin_and_die(tmp_path / "run", changed("settings.yaml", "4", "5"), part=None)
    with RunFolder.named(tmp_path / "run") as folder:
        folder.begin(NOW)
        assert folder.left is None
    assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]


def test_a_default_name_goes_to_the_run_that_began_it_and_others_get_the_next(tmp_path: Path) -> None:
    other = changed("settings.yaml", "4", "5")
    for identity, name in ((NOW, "run"), (other, "run-2"), (NOW, "run"), (other, "run-2")):
        with RunFolder.numbered(tmp_path, "run", identity) as folder:
            folder.begin(identity)
            assert folder.path.name == f".{name}.partial"
            assert (folder.left is None) == (folder.part("1-RR").exists() or identity is NOW), "said when it begins"
            if not folder.part("1-RR").exists():
                with folder.new_part("1-RR"):
                    pass
    with RunFolder.numbered(tmp_path, "run", other) as folder:
        folder.begin(other)
        assert folder.publish() == tmp_path / "run-2"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.partial", "run-2"]


def test_a_resume_is_refused_where_something_differs_and_says_what(tmp_path: Path) -> None:
    begin_and_die(tmp_path / "run", changed("settings.yaml", "4", "5"))
    with RunFolder.named(tmp_path / "run") as folder:
        with pytest.raises(InputError, match="slots was 5, is 4 now. Go back to what it was begun with, or start over"):
            folder.begin(NOW, must_be_same=True)
        with pytest.raises(InputError, match="cannot be resumed"):
            folder.begin(NOW, must_be_same=True, other_code=True)
    assert RunFolder.killed(tmp_path / "run") == "asked"


def test_other_code_goes_on_where_it_is_asked_to_and_both_versions_are_noted(tmp_path: Path) -> None:
    begin_and_die(tmp_path / "run", changed("versions.json", '"b", "code_sha256": "2"', '"a", "code_sha256": "1"'))
    with RunFolder.named(tmp_path / "run") as folder:
        with pytest.raises(InputError, match="commit was a, is b now. Go back to that code, or give --other-code"):
            folder.begin(NOW, must_be_same=True)
        assert folder.begin(NOW, must_be_same=True, other_code=True)
        noted = (folder.path / "versions.json").read_text()
        assert noted.index('"commit": "b"') < noted.index('"before"') < noted.index('"commit": "a"')
    with RunFolder.named(tmp_path / "run") as folder:
        assert folder.begin(NOW, must_be_same=True), "the same code again is no other code"
        assert folder.part("1-RR").is_dir()


# Broken off: every change of the disk is one that a kill can come before.


class Died(BaseException):
    """Stands for kill -9."""


def stops(work: Callable[[], None], undo: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> int:
    """Do the work again and again, each time up to one change of the disk more; `undo` looks at what is left."""
    changes = ("rename", "replace", "unlink", "rmdir", "mkdir", "write", "fsync")

    def counted(own: Callable[..., Any], left: Iterator[int]) -> Callable[..., Any]:
        def change(*args: Any, **kwargs: Any) -> Any:
            if next(left, None) is None:
                raise Died
            return own(*args, **kwargs)

        return change

    for last in range(1000):
        with monkeypatch.context() as patched:
            left = iter(range(last))
            for name in changes:
                own = (
                    getattr(os, name) if name != "fsync" else lambda handle: None
                )  # it takes its time, and shows nothing
                patched.setattr(os, name, counted(own, left))
            try:
                work()
            except Died:
                pass
            else:
                return last
        undo()
    raise AssertionError("the work never ends")


def test_a_kill_while_another_run_is_set_aside_loses_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = changed("settings.yaml", "4", "5")
    begin_and_die(tmp_path / "run", was)

    def work() -> None:
        with RunFolder.named(tmp_path / "run") as folder:
            folder.begin(NOW)

    def look() -> None:
        work()
        (kept,) = [path for path in tmp_path.iterdir() if (path / "parts" / "1-RR" / "result.json").exists()]
        assert (kept / "settings.yaml").read_text() == was["settings.yaml"]
        assert RunFolder.killed(tmp_path / "run-interrupted") == "asked"
        with RunFolder.named(tmp_path / "run") as folder:
            assert not folder.begin(NOW)
            assert folder.left is None
        assert sorted(path.name for path in tmp_path.iterdir()) == [".run-interrupted.partial", ".run.partial"]
        for path in tmp_path.iterdir():
            durable.remove(path)
        begin_and_die(tmp_path / "run", was)

    assert stops(work, look, monkeypatch) > 10


def test_a_kill_while_a_run_is_published_is_made_good_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run"

    def work() -> None:
        with RunFolder.named(target) as folder:
            folder.begin(NOW)
            for name in ("1-RR", "1-RL"):
                if not folder.part(name).exists():
                    with folder.new_part(name) as draft:
                        (draft / "result.json").write_text(name)
            (folder.path / "summary.json").write_text("".join(
                (folder.part(name) / "result.json").read_text() for name in ("1-RR", "1-RL")
            ))  # fmt: skip
            (folder.path / "figures").mkdir(exist_ok=True)
            folder.publish()

    def look() -> None:
        if not target.exists():
            work()
        with pytest.raises(InputError, match="already exists"):
            RunFolder.named(target)
        with RunFolder.named(tmp_path / "run-2"):
            pass
        assert sorted(path.name for path in target.iterdir()) == [
            "figures", "settings.yaml", "summary.json", "testbed.yaml", "versions.json",
        ]  # fmt: skip
        assert (target / "summary.json").read_text() == "1-RR1-RL"
        (tmp_path / ".run.lock").unlink(missing_ok=True)  # of a kill at the very end: nobody's lock
        for path in tmp_path.iterdir():
            durable.remove(path)

    assert stops(work, look, monkeypatch) > 40


def test_what_was_asked_for_is_known_while_a_run_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_and_die(tmp_path / "run", NOW)
    with RunFolder.named(tmp_path / "run") as folder:
        folder.begin(NOW)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", lambda self, target: (_ for _ in ()).throw(Died))
            with pytest.raises(Died):
                folder.publish()
    assert not (tmp_path / ".run.partial" / "parts").exists()
    assert RunFolder.killed(tmp_path / "run") == "asked"
    with RunFolder.named(tmp_path / "run") as folder:
        assert folder.begin(NOW)
        assert folder.part("1-RR").exists()
        folder.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_published_is_synced_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[str]()
    with RunFolder.named(tmp_path / "new" / "run") as folder:
        folder.begin(NOW)
        (folder.path / "figures").mkdir()
        (folder.path / "figures" / "one.png").write_text("")
        own = os.fsync

        def fsync(handle: int) -> None:
            told.append(os.path.relpath(os.readlink(f"/proc/self/fd/{handle}"), tmp_path))
            own(handle)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(run_folder, "discard", lambda folder: None)
        folder.publish()
    assert {"new/.run.partial/figures/one.png", "new/.run.partial/figures", "new/.run.partial"} <= set(told)
    assert told[-1] == "new"


@pytest.mark.parametrize("there", [True, False])
def test_a_link_leads_to_the_folder_that_is_written(there: bool, tmp_path: Path) -> None:
    if there:
        (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    begin_and_die(tmp_path / "run", NOW)
    assert RunFolder.killed(tmp_path / "run") == "asked"
    with RunFolder.named(tmp_path / "run") as folder:
        assert folder.begin(NOW)
        folder.publish()
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "run" / "settings.yaml").exists()
    with pytest.raises(InputError, match="run already exists"):
        RunFolder.named(tmp_path / "run")


@pytest.mark.parametrize("name", [".", "", "sub/.."])
def test_the_current_folder_is_refused_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is the current folder"):
        RunFolder.named(Path(name))
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="already exists"):
        RunFolder.named(Path(name))

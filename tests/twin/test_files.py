"""Every mistake that a YAML file can hold is answered with one sentence: file, line, field, what would be right."""

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator

import twin.files
from domain.errors import InputError, MachineError
from twin.files import Document, FileModel, WholeKey, dump_yaml, load_yaml, read_document, write_text


class Wheel(FileModel):
    spokes: int = Field(ge=1)
    radius_m: float = 0.3

    @field_validator("radius_m")
    @classmethod
    def _reachable(cls, value: float) -> float:
        if value > 2:
            raise ValueError(f"must be at most 2 metres, not {value:g}")
        return value


class Pedal(FileModel):
    drive: Literal["pedal"]
    teeth: int


class Motor(FileModel):
    drive: Literal["motor"]
    watts: float


class Cycle(FileModel):
    name: str
    wheels: Annotated[tuple[Wheel, ...], Field(min_length=1, max_length=3)]
    spare: dict[str, Wheel] = {}
    gears: dict[WholeKey, float] = {}
    drive: Annotated[Pedal | Motor, Field(discriminator="drive")] | None = None
    bell: bool = False
    colour: Literal["red", "green"] = "red"


GOOD = "name: a\nwheels:\n  - spokes: 3\n"


def sentence(text: str | bytes, folder: Path) -> str:
    """The error for a file with this content, without its folder."""
    path = folder / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        load_yaml(path, Cycle)
    return str(caught.value).replace(f"{folder}{os.sep}", "")


def test_a_sound_file_becomes_its_model(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "name: 2026-01-01\nwheels: [{spokes: 36, radius_m: 1}, &w {spokes: 20}, *w]\n"
        "spare: {front: *w}\ngears: {1: 2.5, 2: 1e-1}\ndrive: {drive: motor, watts: 250}\nbell: true\n"
    )
    cycle = load_yaml(path, Cycle)
    assert cycle == Cycle(
        name="2026-01-01",
        wheels=(Wheel(spokes=36, radius_m=1.0), Wheel(spokes=20), Wheel(spokes=20)),
        spare={"front": Wheel(spokes=20)},
        gears={1: 2.5, 2: 0.1},
        drive=Motor(drive="motor", watts=250.0),
        bell=True,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The fields
        ("name: a\nwheels:\n  - spokes: 0\n", "c.yaml:3: wheels[0].spokes must be greater than or equal to 1, not 0."),
        ("name: a\nwheels:\n  - radius_m: 1\n", "c.yaml:3: wheels[0] must have the field 'spokes'."),
        (
            "name: a\nwheels:\n  - radius_m: 1\n    spoke: 3\n",
            "c.yaml:4: wheels[0] has an unknown field 'spoke'; did you mean 'spokes'?",
        ),
        (
            GOOD + "horn: loud\n",
            "c.yaml:4: the file has an unknown field 'horn'; "
            "it may have bell, colour, drive, gears, name, spare, wheels.",
        ),
        (
            GOOD + "spare:\n  f:\n    spokes: 3\n    radius_m: 9\n",
            "c.yaml:7: spare.f.radius_m must be at most 2 metres, not 9.",
        ),
        (GOOD + "spare:\n  'to the left': 3\n", "c.yaml:5: spare['to the left'] must be a mapping of fields, not 3."),
        (GOOD + "spare:\n  f: {spoke: 3}\n", "c.yaml:5: spare.f has an unknown field 'spoke'; did you mean 'spokes'?"),
        (GOOD + "colour: gren\n", "c.yaml:4: colour must be 'red' or 'green', not 'gren'; did you mean 'green'?"),
        ("name: 3\nwheels: [{spokes: 3}]\n", "c.yaml:1: name must be text (quotes make it so), not 3."),
        ("name: a\nwheels: [{spokes: '3'}]\n", "c.yaml:2: wheels[0].spokes must be a whole number, not '3'."),
        ("name: a\nwheels: [{spokes: 3.5}]\n", "c.yaml:2: wheels[0].spokes must be a whole number, not 3.5."),
        ("name: a\nwheels: [{spokes: true}]\n", "c.yaml:2: wheels[0].spokes must be a whole number, not true."),
        (GOOD + "bell: yes\n", "c.yaml:4: bell must be true or false, not 'yes'."),
        (GOOD + "gears: {x: 3}\n", "c.yaml:4: gears.x must be a whole number, not 'x'."),
        (GOOD + "gears: {1: nan}\n", "c.yaml:4: gears.1 must be a number, not 'nan'."),
        (GOOD + "gears: {1: .nan}\n", "c.yaml:4: gears.1 must be a finite number, not .nan."),
        (GOOD + "gears: {1: -.inf}\n", "c.yaml:4: gears.1 must be a finite number, not -.inf."),
        (GOOD + "gears: {1: 1e999}\n", "c.yaml:4: gears.1 must be a finite number, not 1e999."),
        (GOOD + f"gears: {{1: {'9' * 5000}}}\n", f"c.yaml:4: gears.1 must be a finite number, not {'9' * 60}."),
        ("name: a\nwheels: {spokes: 3}\n", "c.yaml:2: wheels must be a list, not a mapping."),
        ("name: a\nwheels: []\n", "c.yaml:2: wheels must have at least 1 entry, not 0."),
        ("name: ~\nwheels: [{spokes: 3}]\n", "c.yaml:1: name must be text (quotes make it so), not null."),
        # The members of a union
        (GOOD + "drive: {watts: 3}\n", "c.yaml:4: drive must have the field 'drive'."),
        (
            GOOD + "drive:\n  watts: 3\n  drive: moter\n",
            "c.yaml:6: drive.drive must be 'pedal' or 'motor', not 'moter'; did you mean 'motor'?",
        ),
        (
            GOOD + "drive:\n  drive: motor\n  watt: 3\n",
            "c.yaml:6: drive has an unknown field 'watt'; did you mean 'watts'?",
        ),
        (
            GOOD + "drive:\n  drive: pedal\n  watt: 3\n",
            "c.yaml:6: drive has an unknown field 'watt'; it may have drive, teeth.",
        ),
        # The file
        ("name: a\nwheels: [{spokes: 3}]\nname: b\n", "c.yaml:3: name is given twice, first on line 1; keep one."),
        ("", "c.yaml is empty; it must hold fields, such as 'name: …'."),
        ("# nothing\n", "c.yaml is empty; it must hold fields, such as 'name: …'."),
        ("- 1\n", "c.yaml:1: the file must be a mapping of fields, not a list."),
        (
            "name: a\nwheels: [\n",
            "c.yaml:3: this is not valid YAML: while parsing a flow node did not find expected node content.",
        ),
        (
            "name: a\n---\nname: b\n",
            "c.yaml:2: this is not valid YAML: expected a single document in the stream but found another document.",
        ),
        ("name: *b\n", "c.yaml:1: this is not valid YAML: found undefined alias."),
        (b"name: a\nwheels: \xff\n", "c.yaml:2: the file must be UTF-8 text, and byte 16 is not."),
        ("name: a\nwheels: \x07\n", "c.yaml:2: the file must be text without the control character '\\x07'."),
        ("? [1]\n: 2\n", "c.yaml:1: the file must have plain names as keys, not lists, mappings or tags."),
        ("!!str name: a\n", "c.yaml:1: the file must have plain names as keys, not lists, mappings or tags."),
        ("name: !secret x\n", "c.yaml:1: name must be plain text or a number without a tag, not '!secret'."),
        ("name: !!str 5\n", "c.yaml:1: name must be plain text or a number without a tag, not '!!str'."),
        ("name: ! 5\n", "c.yaml:1: name must be plain text or a number without a tag, not '!'."),
        (
            "name: a\nwheels: [{spokes: !!int '3'}]\n",
            "c.yaml:2: wheels[0].spokes must be plain text or a number without a tag, not '!!int'.",
        ),
        (GOOD + "spare: !!map {}\n", "c.yaml:4: spare must be a plain mapping or list without a tag, not '!!map'."),
        (
            "name: !!python/object/apply:os.getcwd []\n",
            "c.yaml:1: name must be a plain mapping or list without a tag, not '!!python/object/apply:os.getcwd'.",
        ),
        (
            GOOD + "spare:\n  f: &f {spokes: 3}\n  g: {<<: *f}\n",
            "c.yaml:6: spare.g must not merge another mapping with '<<'; write its fields out.",
        ),
        (
            GOOD + "spare:\n  <<: {f: {spokes: 3}}\n",
            "c.yaml:5: spare must not merge another mapping with '<<'; write its fields out.",
        ),
        # Keys that are numbers
        (GOOD + "gears: {4: 1, 4.0: 2}\n", "c.yaml:4: gears['4.0'] must be a whole number, not '4.0'."),
        (GOOD + "gears: {10: 1, 1_0: 2}\n", "c.yaml:4: gears.1_0 must be a whole number, not '1_0'."),
        (GOOD + "gears: {4: 1, 04: 2}\n", "c.yaml:4: gears.04 must be a whole number, not '04'."),
        ("[" * 100_000, "c.yaml:1: the file must be at most 50 levels deep."),
        ("name: &a [*a]\n", "c.yaml:1: name[0][0] must be at most 50 levels deep, with its aliases written out."),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(text: str | bytes, expected: str, tmp_path: Path) -> None:
    assert sentence(text, tmp_path) == expected


def test_the_sign_of_a_merge_between_quotes_is_a_name_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(GOOD + "spare: {'<<': {spokes: 3}}\n")
    assert load_yaml(tmp_path / "c.yaml", Cycle).spare == {"<<": Wheel(spokes=3)}


def test_of_several_mistakes_the_first_in_the_file_is_shown(tmp_path: Path) -> None:
    assert sentence("bell: 1\nwheels: [{spokes: -1}]\nname: 3\n", tmp_path).startswith("c.yaml:1: bell ")


def test_aliases_that_stand_for_billions_of_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin.files, "MOST_VALUES", 10_000)
    layers = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    layers += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 8)}]" for k in range(1, 12)]
    assert "must be at most 10000 values long" in sentence("\n".join(layers), tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent.yaml", "absent.yaml: there is no such file; give the path of a YAML file."),
        (".", " is a folder; give the path of a YAML file in it."),
        ("\0", " cannot be read: embedded null byte."),
    ],
)
def test_a_path_that_cannot_be_read_says_why(name: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_document(tmp_path / name)
    assert str(caught.value).endswith(expected)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfname: a\n")
    assert read_document(tmp_path / "c.yaml").data == {"name": "a"}


def test_a_document_names_the_line_of_a_field_found_wrong_later() -> None:
    document = Document(Path("c.yaml"), "name: a\nwheels:\n- spokes: 3\n- radius_m: 1\n  spokes: 4\n")
    assert str(document.error(("wheels", 1, "spokes"), "must be odd")) == "c.yaml:5: wheels[1].spokes must be odd."
    assert document.line(("wheels", 1, "missing")) == 4
    assert str(document.error((), "must hold a cat; does it?")) == "c.yaml:1: the file must hold a cat; does it?"


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
DATA = st.recursive(
    SCALARS | PRINTABLE | st.sampled_from(["yes", "1e3", "0o7", "2026-01-01", "12:30", ".nan", "~", "010", "<<", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(PRINTABLE, DATA, min_size=1, max_size=5))
def test_what_is_written_reads_back_as_the_same_data(data: dict[str, Any]) -> None:
    assert Document(Path("c.yaml"), dump_yaml(data)).data == data


@given(st.text(max_size=200) | st.text("[]{}:-,&*!|>'\"#%@`?~ \n\tab1.", max_size=60))
def test_any_text_is_either_read_or_refused_in_one_sentence(text: str) -> None:
    refusals = []
    try:
        Document(Path("c.yaml"), text)
    except InputError as error:
        refusals.append(str(error))
    assert all(re.fullmatch(r"c\.yaml(:\d+:)? .+[.?]", refusal) for refusal in refusals)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_every_digit(number: float) -> None:
    assert math.copysign(1, read(number)) == math.copysign(1, number)
    assert read(number) == number


def read(number: float) -> float:
    value: float = Document(Path("c.yaml"), dump_yaml({"x": number})).data["x"]
    return value


def test_a_file_that_is_larger_than_memory_likes_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: [1, 2, 3, 4, 5, 6, 7, 8, 9]\nb: 1\n")
    monkeypatch.setattr("twin.yaml_text.MOST_EVENTS", 10)
    with pytest.raises(InputError, match=r"c\.yaml:1: the file must have fewer keys and values than up to here\.$"):
        read_document(path)
    monkeypatch.setattr("twin.files.MOST_BYTES", 30)
    with pytest.raises(InputError, match=r"c\.yaml: a YAML file must have at most 30 bytes; traces are files of their"):
        read_document(path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.yaml"
    write_text(path, "old\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match=r"c\.yaml cannot be written: No space left on device\.$"):
        write_text(path, "new\n")
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "c.yaml")
    write_text(tmp_path / "link", "text\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "c.yaml").read_text() == "text\n"

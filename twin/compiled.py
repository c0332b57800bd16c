"""How the engine is compiled: one decorator, so that the reasons stand in one place.

`_nrt=False` leaves out reference counting: the engine never allocates, every array belongs to its caller, and the
atomic
increments at each call took nine tenths of the time. `forceinline` lets LLVM see a slot as one function. The result is
cached beside the source, so only the first run compiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])
_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}


def compiled(function: F) -> F:
    """Compile a function of the engine's inside, inlined where it is called."""
    return cast("F", njit(forceinline=True, **_OPTIONS)(function))


def compiled_entry(function: F) -> F:
    """Compile a function that Python calls."""
    return cast("F", njit(**_OPTIONS)(function))

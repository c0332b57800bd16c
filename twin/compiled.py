"""How the engine is compiled: two decorators, so that the reasons stand in one place.

`_nrt=False` leaves out reference counting: the engine never allocates, every array belongs to its caller, and the
atomic increments at each call took nine tenths of the time. `forceinline` lets LLVM see a slot as one function.

Machine code is cached beside the source, so only the first run compiles. Numba's own check looks at the file of the
entry function alone; code inlined from other files would go stale unseen. So the folder's name is a digest of them all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import config

F = TypeVar("F", bound=Callable[..., object])
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}


def compiled(function: F) -> F:
    """Compile a function of the engine's inside, inlined where it is called."""
    return cast("F", njit(forceinline=True, **_OPTIONS)(function))


def compiled_entry(function: F) -> F:
    """Compile a function that Python calls, and cache it for the sources as they are."""
    settings: Any = config  # numba sets its attributes from the environment at import
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(Path(__file__).parent / "__pycache__" / _digest())
    try:
        return cast("F", njit(cache=True, **_OPTIONS)(function))
    finally:
        settings.CACHE_DIR = before


def _digest() -> str:
    """Name the state of every source that an engine can be inlined from."""
    here = Path(__file__).parent
    sources = [here / f"{name}.py" for name in ("compiled", "layout", "pods", "queues", "engine")]
    sources += [here.parent / "domain" / f"{name}.py" for name in ("telemetry", "decisions")]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]

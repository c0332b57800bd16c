"""How functions are compiled, and kept: decorators, so that the reasons stand in one place.

`_nrt=False` leaves out reference counting: the engine never allocates, every array belongs to its caller, and the
atomic increments at each call took nine tenths of the time. `forceinline` lets LLVM see a slot as one function.

Machine code is kept (`twin.caches` says where), so only the first run compiles. Numba's own check looks at the file of
the entry function alone; code inlined from other files would go stale unseen. So what is kept stands under a digest of
every source file and every constant that the machine code was made from.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator

from twin.caches import VARIABLE, cache_folder, named_folder

_log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., object])
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
_INNER = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Of functions that compiled ones alone call: what would let Python call them took most of the time of compiling."""
KEPT = list[Any]()
"""Functions whose machine code is kept, of the modules that are imported: Numba's dispatchers."""


def compiled(function: F) -> F:
    """Compile a function that allocates nothing and that compiled ones call: it is inlined there."""
    return cast("F", njit(forceinline=True, **_INNER)(function))


def compiled_call(function: F) -> F:
    """Compile a function that allocates nothing and is large: those that call it do call it."""
    return cast("F", njit(**_INNER)(function))


def compiled_entry(function: F) -> F:
    """Compile a function of the engine that Python calls, and keep the machine code."""
    return _kept(function, _OPTIONS)


def compiled_alone(function: F) -> F:
    """Compile a function that may allocate, and keep the machine code."""
    return _kept(function, {"error_model": "numpy"})


def code_folder() -> Path | None:
    """Where machine code is kept; None where there is no place for it."""
    if named_folder(VARIABLE) is None and (numbas := named_folder("NUMBA_CACHE_DIR")) is not None:
        return numbas
    folder = cache_folder()
    return None if folder is None else folder / "code"


def stamp(function: FunctionType) -> str:
    """Name what a function's machine code is made from: the files and constants of all that it calls, too."""
    told, seen, left = set[str](), set[FunctionType](), [function]
    while left:
        one = left.pop()
        seen.add(one)
        told.add(_digest(Path(one.__code__.co_filename)))
        for name in _names(one.__code__):
            value = one.__globals__.get(name)
            inner = getattr(value, "py_func", None)
            if inner is not None:
                left += [inner] if inner not in seen else []
            elif isinstance(value, type):
                told.add(_digest(Path(getattr(sys.modules.get(value.__module__), "__file__", None) or "")))
            elif isinstance(value, int | float | str | tuple):
                told.add(f"{name} {value!r}")
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()[:16]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


@cache
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else str(file)


def _kept(function: F, options: dict[str, Any]) -> F:
    dispatcher: Any = njit(**options)(function)
    # What njit(cache=True) does, but it asks for a folder at once, and fails where Numba finds none.
    dispatcher._cache = _Kept(function)
    KEPT.append(dispatcher)
    return cast("F", dispatcher)


class _Kept(NullCache):
    """The machine code of one function on disk: whatever goes wrong there costs a compilation, and no run."""

    def __init__(self, function: Any) -> None:
        self._function = function

    @cached_property
    def _files(self) -> Any:
        if code_folder() is None:
            _say(f"there is no folder to keep it in; {VARIABLE} names one")
            return None
        made: Any = _Files  # Numba declares no types
        return made(self._function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for a signature; None where it is not there."""
        if self._files is None:
            return None
        try:
            return self._files.load_overload(sig, target_context)
        except Exception:  # a damaged file: what reads it raises what it likes
            with suppress(OSError):
                self._files.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for a signature."""
        if self._files is None:
            return
        try:
            self._files.save_overload(sig, data)
        except OSError as error:
            _say(f"{code_folder()}: {error.strerror}; {VARIABLE} names another folder")


@cache
def _say(why: str) -> None:
    """Say once that nothing is kept, in the process that a person sees."""
    if multiprocessing.parent_process() is None:
        _log.warning("compiled code is not kept, so every start compiles it anew: %s", why)


class _Place(_CacheLocator):
    """Tells Numba's cache where a function's code is, which need not be writable, and what it is made from."""

    def __init__(self, folder: Path, function: FunctionType) -> None:
        self._folder, self._stamp, self._line = folder, stamp(function), function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self._folder / self._stamp)

    def get_source_stamp(self) -> str:
        """Return what must be the same for code to be taken."""
        return self._stamp

    def get_disambiguator(self) -> str:
        """Return what tells functions of one name in a file apart."""
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: FunctionType, py_file: str) -> _Place | None:
        """Return the place for a function; None where there is no folder."""
        folder = code_folder()
        return None if folder is None else cls(folder, py_func)


class _Parts(CompileResultCacheImpl):
    _locator_classes = [_Place]


class _Files(FunctionCache):
    _impl_class = _Parts

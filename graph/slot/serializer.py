"""How checkpoints are written and read: as data, whoever wrote them.

LangGraph's own serializer imports whatever module a checkpoint names and calls what it finds there, so that a file of
somebody else's could run anything. A slot's state is plain data. All that LangGraph adds to it stands in a list here;
anything else is refused, when it is written and when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    JsonPlusSerializer,
)
from langgraph.types import Interrupt, Send

from domain.errors import InputError

TYPES: Final[Mapping[tuple[int, str, str], Callable[[Any], Any]]] = MappingProxyType(
    {
        (EXT_CONSTRUCTOR_POS_ARGS, "langgraph.types", "Send"): lambda given: Send(*given),
        (EXT_CONSTRUCTOR_KW_ARGS, "langgraph.types", "Interrupt"): lambda given: Interrupt(**given),
    }
)
"""The only types that are built, by how LangGraph writes them down: code, module and name to what makes one."""
_READ: Final = ormsgpack.OPT_NON_STR_KEYS
_WRITE: Final = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_REPLACE_SURROGATES
)


class PlainSerializer(JsonPlusSerializer):
    """Writes and reads plain data and TYPES, in the form of LangGraph's serializer."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Write a value down. Raises TypeError where it holds anything else."""
        if obj is None:
            return "null", b""
        return ("bytes", obj) if isinstance(obj, bytes) else ("msgpack", _packed(obj))

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read a value.

        Raises:
            InputError: it is damaged, or holds what no checkpoint of Edgewise holds.
        """
        kind, packed = data
        if kind == "null":
            return None
        if kind == "bytes":
            return packed
        if kind != "msgpack":
            raise InputError(f"A checkpoint holds a value of the kind {kind!r}, which none of Edgewise's does.")
        foreign: list[str] = []

        def build(code: int, inner: bytes) -> Any:
            module, name, given, *_ = ormsgpack.unpackb(inner, ext_hook=build, option=_READ)
            made = TYPES.get((code, module, name))
            if made is None:
                foreign.append(f"{module}.{name}")
                raise ValueError
            return made(given)

        try:
            return ormsgpack.unpackb(packed, ext_hook=build, option=_READ)
        except (ValueError, TypeError) as error:
            if foreign:
                raise InputError(f"A checkpoint holds a {foreign[0]}, which none of Edgewise's does.") from None
            raise InputError(f"A checkpoint is damaged: {error}.") from None

    def with_msgpack_allowlist(self, extra_allowlist: Any) -> PlainSerializer:
        """Return itself: LangGraph's strict mode would add the types of the graph's state, which has none."""
        return self


def _packed(value: Any) -> bytes:
    return ormsgpack.packb(value, default=_spelt, option=_WRITE)


def _spelt(value: Any) -> Any:
    """What stands for a value that is no plain data; an error is only told."""
    if isinstance(value, Send):
        return _extension(EXT_CONSTRUCTOR_POS_ARGS, value, (value.node, value.arg))
    if isinstance(value, Interrupt):
        given = {field.name: getattr(value, field.name) for field in fields(value)}
        return _extension(EXT_CONSTRUCTOR_KW_ARGS, value, given)
    if isinstance(value, BaseException):
        return repr(value)
    raise TypeError  # which ormsgpack turns into one of its own, with the name of the type


def _extension(code: int, value: Any, given: Any) -> ormsgpack.Ext:
    return ormsgpack.Ext(code, _packed((type(value).__module__, type(value).__name__, given)))

"""The line to a model: how a question reaches it at the least cost on this side.

LangChain's `ainvoke` spends most of its time on callbacks and tracing. Where nobody listens, the model is called
beneath them. Whether anybody does, and LangChain's form of the instructions, are not worked out anew for every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackManager
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import var_child_runnable_config

from graph.models.conversation import Message, Reply, read_message, read_result, to_langchain

MOST_KEPT = 5_000
"""Instructions that are kept as messages; past that many the keeping starts over."""


class Line:
    """A line to one model, for all the questions that it is asked."""

    def __init__(self, model: BaseChatModel) -> None:
        """Nothing is called yet."""
        self._model = model
        self._instructions: dict[str, BaseMessage] = {}
        self._slot: int | None = None
        self._heard = False

    def messages(self, said: Sequence[Message]) -> list[BaseMessage]:
        """Turn plain messages into LangChain's. Raises ValueError for a role that does not exist."""
        return [self._instruction(m) if m["role"] == "system" else to_langchain(m) for m in said]

    def _instruction(self, message: Message) -> BaseMessage:
        """Models read messages and leave them as they are, so the same one serves in every slot."""
        known = self._instructions.get(message["content"])
        if known is None:
            if len(self._instructions) >= MOST_KEPT:
                self._instructions.clear()
            known = self._instructions[message["content"]] = to_langchain(message)
        return known

    async def call(self, slot: int, messages: list[BaseMessage], options: Mapping[str, Any]) -> Reply:
        """Call the model once, through `ainvoke` where a callback, a tracer, a cache or a rate limiter has a say."""
        model = self._model
        cached = model.cache is not False and (model.cache is not None or get_llm_cache() is not None)
        if cached or model.rate_limiter is not None or self._is_heard(slot):
            return read_message(await model.ainvoke(messages, **options))
        return read_result(await model._agenerate(messages, **options))

    def _is_heard(self, slot: int) -> bool:
        """True where a callback or a tracer has a say in a call of that slot.

        Who listens to a whole run of the graph stands in its configuration, which is looked at for every call. What
        else there may be (`AsyncCallbackManager.configure` knows) is asked for once a slot, or where there is no run.
        """
        model, config = self._model, var_child_runnable_config.get()
        around = None if config is None else config.get("callbacks")
        if not isinstance(around, BaseCallbackManager) or model.callbacks or model.verbose:
            manager = AsyncCallbackManager.configure(around, model.callbacks, verbose=model.verbose)
            return bool(manager.handlers)
        if around.handlers:
            return True
        if slot != self._slot:
            self._heard = bool(AsyncCallbackManager.configure(around).handlers)
            self._slot = slot
        return self._heard

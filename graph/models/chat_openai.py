"""The client of model servers, as LangChain has it, made ready for servers that are not OpenAI's.

This is the one module that knows `langchain_openai`; it is imported when the first client is made, for it takes over a
second. Three things differ from `ChatOpenAI`: parameters that a server complains of can be left out, the form of an
answer is asked for and nothing of it is parsed here (the gate reads answers), and a reply is looked at for what servers
put beside its content: an error in a reply of status 200, or the answer as reasoning.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI

from graph.models.failures import MOST_READ, BadReplyError, ServerSaidError

REASONING = ("reasoning_content", "reasoning")
"""Where servers put what a model thought, beside its content."""


class ServerChat(ChatOpenAI):
    """Chat completions of any server that speaks OpenAI's protocol."""

    use_responses_api: bool | None = False

    def _get_request_payload(
        self, input_: Any, *, stop: list[str] | None = None, left_out: Collection[str] = (), **kwargs: Any
    ) -> dict[str, Any]:
        """Make the body of a request.

        Args:
            input_: the messages.
            stop: as in LangChain.
            left_out: names of parameters that are not sent; without `max_completion_tokens`, `max_tokens` is.
            kwargs: options of the call.
        """
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        if "max_completion_tokens" in left_out and "max_completion_tokens" in payload:
            payload["max_tokens"] = payload.pop("max_completion_tokens")
        for name in left_out:
            payload.pop(name, None)
        if not payload.get("stream"):
            payload.pop("stream", None)
        form = payload.pop("response_format", None)
        if form is not None:  # as part of the body alone: else the client parses the answer
            payload["extra_body"] = {**(payload.get("extra_body") or {}), "response_format": form}
        return payload

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        """Read a reply; raises ServerSaidError where it holds an error, BadReplyError where it is no completion."""
        said = getattr(response, "error", None)
        if said is None and getattr(response, "object", None) == "error":
            said = response.model_dump(warnings=False)
        if said:
            raise ServerSaidError(said, _status_in(said))
        if not getattr(response, "choices", None):
            shown = f": {response[:MOST_READ]}" if isinstance(response, str) else ", it holds no choices"
            raise BadReplyError(f"the server's reply is no chat completion{shown}")
        result = super()._create_chat_result(response, generation_info)
        extra = response.choices[0].message.model_extra or {}
        for name in REASONING:
            if isinstance(extra.get(name), str):
                result.generations[0].message.additional_kwargs["reasoning_content"] = extra[name]
                break
        return result


def _status_in(said: object) -> int | None:
    """The HTTP status that an error names as its code."""
    code = said.get("code", said.get("status")) if isinstance(said, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else None

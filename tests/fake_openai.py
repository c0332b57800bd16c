"""A server that speaks OpenAI's chat completions on loopback, and misbehaves in the ways that real ones do.

async with fake_openai(says('{"a": 1}')) as server:
    …  # server.base_url, and server.requests: the bodies that came in
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Behaviour = Callable[[web.Request, Body], Awaitable[web.StreamResponse]]


@dataclass
class FakeOpenAI:
    """The server, as a test sees it."""

    behaviour: Behaviour
    base_url: str = ""
    requests: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@asynccontextmanager
async def fake_openai(behaviour: Behaviour) -> AsyncIterator[FakeOpenAI]:
    """Serve until the block ends. A request that hangs is dropped then."""
    server = FakeOpenAI(behaviour)

    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        server.requests.append(body)
        server.headers.append(dict(request.headers))
        return await server.behaviour(request, body)

    application = web.Application()
    application.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield server
    finally:
        await runner.cleanup()


def completion(body: Body, message: Body, finish: str = "stop", usage: tuple[int, int] | None = (11, 7)) -> Body:
    """A chat completion with one choice."""
    whole: Body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
        ],
    }
    if usage is not None:
        whole["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return whole


def _failure(message: str, kind: str = "invalid_request_error", param: str | None = None) -> Body:
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}


def says(text: str, *, finish: str = "stop", usage: tuple[int, int] | None = (11, 7)) -> Behaviour:
    """Answer with a text; `usage` None counts no tokens, `finish` "length" cuts the answer off."""

    async def behave(_: web.Request, body: Body) -> web.StreamResponse:
        return web.json_response(completion(body, {"content": text}, finish, usage))

    return behave


def refuses(words: str = "I cannot help with that.") -> Behaviour:
    """Refuse, as structured outputs do."""

    async def behave(_: web.Request, body: Body) -> web.StreamResponse:
        return web.json_response(completion(body, {"refusal": words}))

    return behave


def calls_tool(name: str, arguments: str) -> Behaviour:
    """Ask for one tool call; `arguments` is sent as it is."""

    async def behave(_: web.Request, body: Body) -> web.StreamResponse:
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        return web.json_response(completion(body, {"tool_calls": [call]}, "tool_calls"))

    return behave


def fails(status: int, message: str = "no", headers: dict[str, str] | None = None) -> Behaviour:
    """Answer with an HTTP error; 429 with {"Retry-After": "2"} is a rate limit."""

    async def behave(_: web.Request, body: Body) -> web.StreamResponse:
        return web.json_response(_failure(message), status=status, headers=headers)

    return behave


def speaks(payload: str, content_type: str = "application/json") -> Behaviour:
    """Answer 200 with whatever is given."""

    async def behave(_: web.Request, body: Body) -> web.StreamResponse:
        return web.Response(text=payload, content_type=content_type)

    return behave


def hangs() -> Behaviour:
    """Take the request and never answer."""

    async def behave(_: web.Request, body: Body) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("woken up")

    return behave


def drops() -> Behaviour:
    """Close the connection in the middle of an answer."""

    async def behave(request: web.Request, body: Body) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(json.dumps(completion(body, {"content": "x"})).encode()[:40])
        assert request.transport is not None
        request.transport.abort()
        return response

    return behave


def knows_only(*formats: str, text: str = "{}") -> Behaviour:
    """Answer, but reject every response_format that is not named with 400."""

    async def behave(request: web.Request, body: Body) -> web.StreamResponse:
        kind = body.get("response_format", {"type": "text"})["type"]
        if kind not in formats:
            words = f"response_format.type must be one of {formats}"
            return web.json_response(_failure(words, param="response_format"), status=400)
        return await says(text)(request, body)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Each once, then the last for good."""
    left = list(behaviours)

    async def behave(request: web.Request, body: Body) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request, body)

    return behave

"""OpenTelemetry spans of a run: slot, node, call to a model, sent to the collector that the environment names.

This is the one module that knows OpenTelemetry, and it is imported only where a collector is configured. Spans carry
who decided what and how it came about, tokens and kinds of errors; prompts and answers stay in the ledger, and so do
the texts of errors, which may quote them. Names follow the
semantic conventions for generative AI where there is one (gen_ai.*).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_log = logging.getLogger(__name__)

FLUSH_MS = 5000
"""Milliseconds that the collector gets for the last spans when a run ends."""


def open_spans(run: str) -> Spans | None:
    """Send spans where OTEL_EXPORTER_OTLP_ENDPOINT says; None, with a warning, where the `otel` extra is missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("a collector is configured but spans need the extra: pip install 'edgewise[otel]'")
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": "edgewise"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(run, provider)


class Spans:
    """A `graph.trace.lines.Sink` that turns the parts of a slot into spans."""

    def __init__(self, run: str, provider: TracerProvider) -> None:
        """Use a provider of one's own, never the process's."""
        self._run, self._provider = run, provider
        self._tracer = provider.get_tracer("edgewise")
        self._slot: Span | None = None
        self._nodes: dict[str, Span] = {}
        """Task id to the span of the node at work."""
        self._calls = ModelSpans(self)
        self.callbacks: list[BaseCallbackHandler] = [self._calls]

    def begin(self, slot: int) -> None:
        """Start the span of a slot."""
        self._slot = self._tracer.start_span("slot", attributes={"edgewise.run": self._run, "edgewise.slot": slot})

    def part(self, slot: int, part: Mapping[str, Any]) -> None:
        """Start or end the span of a node."""
        data = part["data"]
        if part["type"] != "tasks":
            return
        if "result" not in data and "error" not in data:
            attributes = {"edgewise.slot": slot, "langgraph.node": data["name"]}
            self._nodes[data["id"]] = self.child(self._slot, data["name"], attributes)
            return
        span = self._nodes.pop(data["id"], None)
        if span is None:
            return
        if data.get("error"):
            _fail(span, "failed")
        for line in _decisions(data.get("result")):
            told = {f"edgewise.{key}": str(line[key]) for key in _TOLD if line.get(key) is not None}
            span.add_event("decision", told)
        self._calls.cut_off(data["id"])
        span.end()

    def end(self, state: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """End the span of the slot and of what was cut off in it."""
        self._calls.cut_off()
        for span in self._nodes.values():
            _fail(span, "cut off")
            span.end()
        self._nodes.clear()
        if self._slot is None:
            return
        outcome = (state or {}).get("outcome") or {}
        for key, value in outcome.items():
            if isinstance(value, int | float):
                self._slot.set_attribute(f"edgewise.{key}", value)
        if error is not None:
            _fail(self._slot, type(error).__name__)
        self._slot.end()
        self._slot = None

    def node(self, task: str) -> Span | None:
        """Return the span of the node at work on a task, or that of the slot."""
        return self._nodes.get(task, self._slot)

    def child(self, parent: Span | None, name: str, attributes: dict[str, Any]) -> Span:
        """Start a span below another."""
        from opentelemetry.trace import set_span_in_context

        context = None if parent is None else set_span_in_context(parent)
        return self._tracer.start_span(name, context=context, attributes=attributes)

    def close(self) -> None:
        """Send what is left; a collector that does not answer is given up."""
        self._provider.force_flush(FLUSH_MS)
        self._provider.shutdown()


class ModelSpans(AsyncCallbackHandler):
    """Hears of calls to models, whichever node makes them."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._calls: dict[UUID, tuple[str, Span]] = {}
        """Run id to the task that waits for the call, and its span."""

    async def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a call below that of its node."""
        known = metadata or {}
        model = str(known.get("ls_model_name", "unknown"))
        task = str(known.get("langgraph_checkpoint_ns", "")).rpartition(":")[2]
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
        self._calls[run_id] = task, self._spans.child(self._spans.node(task), f"chat {model}", attributes)

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """End it with the tokens that the server counted."""
        _, span = self._calls.pop(run_id, (None, None))
        if span is None:
            return
        for generations in response.generations:
            for generation in generations:
                message = generation.message if isinstance(generation, ChatGeneration) else None
                usage = message.usage_metadata if isinstance(message, AIMessage) else None
                if usage is not None:
                    span.set_attribute("gen_ai.usage.input_tokens", usage["input_tokens"])
                    span.set_attribute("gen_ai.usage.output_tokens", usage["output_tokens"])
        span.end()

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End it as failed."""
        _, span = self._calls.pop(run_id, (None, None))
        if span is not None:
            _fail(span, type(error).__name__)
            span.end()

    def cut_off(self, task: str | None = None) -> None:
        """End the calls that a task, or anybody, still waits for: LangChain says nothing where their time is over."""
        for run_id, (own, span) in list(self._calls.items()):
            if task in (None, own):
                del self._calls[run_id]
                _fail(span, "cut off")
                span.end()


_TOLD = ("role", "node", "decided_by", "outcome", "reason")


def _decisions(result: Any) -> list[Mapping[str, Any]]:
    lines = result.get("decisions") if isinstance(result, Mapping) else None
    return [line for line in lines or () if isinstance(line, Mapping)]


def _fail(span: Span, why: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, why)

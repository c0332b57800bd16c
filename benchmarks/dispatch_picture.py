"""Draws docs/pictures/dispatch.svg: the same six requests in one slot under the three ways to dispatch.

Three equal pods of one LM, no transfers, fresh news. The rules are those of docs/twin.md; a test plays the same
requests in the twin.

    python -m benchmarks.dispatch_picture
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from domain.serving import Dispatch

PICTURE = Path("docs/pictures/dispatch.svg")
NODES = ("VM1", "VM2", "VM3")
PROMPT_S = 2.0
"""Seconds a prompt in each pod."""


@dataclass(frozen=True)
class Request:
    """One of the six."""

    arrival_s: float
    origin: int
    prompts: int


REQUESTS = (
    Request(0.0, 0, 4),
    Request(1.0, 1, 5),
    Request(4.0, 1, 4),
    Request(8.0, 1, 3),
    Request(12.0, 0, 5),
    Request(16.0, 2, 4),
)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
WAYS = {
    Dispatch.FIXED: ("fixed", "P1: the plan names one pod for each origin, before anybody knows what will come"),
    Dispatch.ARRIVAL: ("arrival", "each request goes to the pod that will have answered it first"),
    Dispatch.SPLIT: ("split", "each of its prompts goes to the pod that will have answered that one first"),
}


@dataclass(frozen=True)
class Bar:
    """Prompts of one request in one pod, one after the other."""

    request: int
    node: int
    start_s: float
    prompts: int

    @property
    def end_s(self) -> float:
        """When the last of them is answered."""
        return self.start_s + self.prompts * PROMPT_S


def bars(dispatch: Dispatch) -> list[Bar]:
    """Deal the requests to the pods in one way; under `fixed` each origin keeps its own."""
    free, made = [0.0] * len(NODES), list[Bar]()
    for number, request in enumerate(REQUESTS):
        for node, prompts in enumerate(_parts(dispatch, request, free)):
            if prompts:
                made.append(Bar(number, node, max(free[node], request.arrival_s), prompts))
                free[node] = made[-1].end_s
    return made


def _parts(dispatch: Dispatch, request: Request, free: list[float]) -> list[int]:
    """Return how many prompts each pod gets: to the least time until they are answered, on a tie to the origin."""
    parts = [0] * len(NODES)
    if dispatch is Dispatch.FIXED:
        parts[request.origin] = request.prompts
        return parts
    step = request.prompts if dispatch is Dispatch.ARRIVAL else 1
    for _ in range(0, request.prompts, step):

        def answered(node: int) -> tuple[float, bool, int]:
            end = max(free[node], request.arrival_s) + (parts[node] + step) * PROMPT_S
            return end, node != request.origin, node

        parts[min(range(len(NODES)), key=answered)] += step
    return parts


def latencies(made: list[Bar]) -> list[float]:
    """Return seconds from each request's arrival to its last answer."""
    return [
        max(bar.end_s for bar in made if bar.request == number) - request.arrival_s
        for number, request in enumerate(REQUESTS)
    ]


WIDTH, HEIGHT = 960, 514
LEFT, RIGHT, BAND, ROW, TOP = 70, 730, 150, 24, 46
SECONDS = 26


def _x(seconds: float) -> float:
    return LEFT + (RIGHT - LEFT) * seconds / SECONDS


def picture() -> str:
    """Return the SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        "<title>Six requests under three ways to dispatch</title><desc>The same six requests at three pods. Fixed "
        "routes leave pods idle while requests wait; a choice at arrival fills them; dealing prompts ends each request "
        "sooner.</desc>",
        "<style>text{fill:#1c2733;font-size:14px} .s{font-size:12.5px;fill:#4a5a6a} .b{font-weight:700;font-size:16px} "
        ".n{fill:#fff;font-weight:700;font-size:13px} .m{font-size:30px;font-weight:700} "
        ".g{stroke:#d5dde5;stroke-width:1}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fbfcfd"/>',
    ]
    for number, (dispatch, words) in enumerate(WAYS.items()):
        lines += _band(TOP + number * BAND, dispatch, *words)
    lines += [
        f'<text x="{_x(second):.1f}" y="{HEIGHT - 44}" text-anchor="middle" class="s">{second} s</text>'
        for second in range(0, SECONDS, 5)
    ]
    lines.append(f'<text x="12" y="{HEIGHT - 14}" class="s">{_legend()}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend() -> str:
    came = [
        f"{' and '.join(str(k + 1) for k, request in enumerate(REQUESTS) if request.origin == node)} at {name}"
        for node, name in enumerate(NODES)
    ]
    return f"▼ a request comes: {', '.join(came)}. A block is one of its prompts, {PROMPT_S:g} s of a pod."


def _band(top: float, dispatch: Dispatch, name: str, what: str) -> Iterator[str]:
    made = bars(dispatch)
    yield f'<text x="12" y="{top - 22}"><tspan class="b">{name}</tspan><tspan class="s" dx="10">{what}</tspan></text>'
    first = top + 16
    bottom = first + len(NODES) * (ROW + 3)
    for second in range(0, SECONDS, 5):
        yield f'<line x1="{_x(second):.1f}" x2="{_x(second):.1f}" y1="{first - 2}" y2="{bottom}" class="g"/>'
    for number, request in enumerate(REQUESTS):
        x = _x(request.arrival_s)
        yield f'<path d="M{x - 5:.1f} {top + 3}h10l-5 9z" fill="{COLOURS[number]}"/>'
        yield (
            f'<text x="{x + 8:.1f}" y="{top + 11}" class="s" style="fill:{COLOURS[number]};font-weight:700">'
            f"{number + 1}</text>"
        )
    for node, node_name in enumerate(NODES):
        y = first + node * (ROW + 3)
        yield f'<text x="12" y="{y + 17}">{node_name}</text>'
        yield f'<rect x="{LEFT}" y="{y}" width="{RIGHT - LEFT}" height="{ROW}" fill="#eef3f8"/>'
        for bar in (bar for bar in made if bar.node == node):
            yield from _bar(bar, y)
    times = latencies(made)
    mean = sum(times) / len(times)
    yield f'<text x="{RIGHT + 22}" y="{first + 32}" class="m">{mean:.1f} s</text>'
    yield f'<text x="{RIGHT + 22}" y="{first + 52}" class="s">mean latency</text>'
    each = ", ".join(f"{seconds:g}" for seconds in times)
    yield f'<text x="{RIGHT + 22}" y="{first + 71}" class="s">of 1 to 6: {each} s</text>'


def _bar(bar: Bar, y: float) -> Iterator[str]:
    for prompt in range(bar.prompts):
        x, end = _x(bar.start_s + prompt * PROMPT_S), _x(bar.start_s + (prompt + 1) * PROMPT_S)
        yield (
            f'<rect x="{x + 0.7:.1f}" y="{y}" width="{end - x - 1.4:.1f}" height="{ROW}" rx="2" '
            f'fill="{COLOURS[bar.request]}"/>'
        )
        yield f'<text x="{(x + end) / 2:.1f}" y="{y + 17}" text-anchor="middle" class="n">{bar.request + 1}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")

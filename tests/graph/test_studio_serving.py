"""How requests are served, as fields of Studio's form: checked, kept with a thread, and what its twin plays."""

from __future__ import annotations

from typing import Any

import pytest

import graph.studio.serving as studio
from domain.errors import InputError
from domain.serving import Batching, Dispatch, Serving
from graph.slot.build import build_graph
from graph.studio.context import Context, read_context
from graph.studio.run import read_cluster
from graph.studio.serving import StudioError
from tests.studio_threads import Thread

pytestmark = [pytest.mark.usefixtures("home")]


@pytest.fixture
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MONGODB_URI", raising=False)


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Thread:
    return Thread(monkeypatch)


def test_the_form_offers_the_settings_and_leaves_them_to_the_testbed() -> None:
    schema = build_graph(studio._at_rest(studio.NOTHING, False), context=Context).get_context_jsonschema()
    assert schema is not None
    fields = schema["properties"]
    assert fields["dispatch"]["enum"] == ["testbed", "fixed", "arrival", "split"]
    assert fields["batching"]["enum"] == ["testbed", "none", "request", "queue"]
    assert [fields[name]["default"] for name in ("dispatch", "news_s", "batching", "copies")] == [
        *("testbed", None, "testbed", None),
    ]
    assert read_cluster(Context()).serving == Serving()


def test_a_thread_is_served_as_its_context_says() -> None:
    context = read_context({"dispatch": "split", "news_s": 2, "batching": "queue", "copies": True})
    assert read_cluster(context).serving == Serving(Dispatch.SPLIT, 2.0, Batching.QUEUE, True)


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        (
            {"dispatch": "spilt"},
            "The context's dispatch must be 'testbed', 'fixed', 'arrival' or 'split', not 'spilt'; "
            "did you mean 'split'?",
        ),
        ({"batching": "all"}, "The context's batching must be 'testbed', 'none', 'request' or 'queue', not 'all'."),
        ({"news_s": -1}, "The context's news_s must be greater than or equal to 0, not -1."),
        ({"copies": "many"}, "The context's copies must be true or false, not 'many'."),
        (
            {"news_s": 31},
            "The context's news_s must be at most a slot, 30 s, not 31: decisions of a slot rest on news of the one "
            "before.",
        ),
    ],
)
def test_a_wrong_setting_says_what_would_be_right(context: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_cluster(read_context(context))
    assert str(caught.value) == sentence


async def test_a_thread_keeps_the_settings_that_it_began_with(thread: Thread) -> None:
    await thread.run(0, dispatch="arrival", news_s=1.0)
    assert (await thread.run(1, dispatch="arrival", news_s=1.0))["completed"] == 1
    with pytest.raises(
        StudioError,
        match=r"lives in testbed bristol, workload p1, seed 1, load 1.0, dispatch arrival, news_s 1.0; set the context",
    ):
        await thread.run(2)

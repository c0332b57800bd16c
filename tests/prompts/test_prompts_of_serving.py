"""What agents are told of how requests are served: nothing in P1's way, and else what is on."""

import re
from dataclasses import replace

import pytest

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.serving import Batching, Dispatch, Serving
from prompts.deployer import deployer_messages
from prompts.messages import Message
from prompts.planner import planner_messages
from prompts.scheduler import scheduler_messages
from tests.clusters import quiet
from tests.prompt_examples import BRISTOL, BY_PROMPT, BY_REQUEST, EXAMPLES, TRAFFIC, busy, deployer, policy, scheduler
from twin.testbeds import generate_testbed

P1S_WAY = [name for name in EXAMPLES if not re.search("arrival|split|copies", name)]


def text(messages: list[Message]) -> str:
    return "\n".join(message["content"] for message in messages)


def planner(cluster: Cluster) -> str:
    told = planner_messages(cluster, snapshot=busy(), traffic=TRAFFIC, last=None, baseline=None, recalled=None)
    return text(told)


@pytest.mark.parametrize("name", P1S_WAY)
def test_in_p1s_way_nobody_hears_of_weights_news_batches_or_copies(name: str) -> None:
    assert not re.search("weight (1|0.5|above)|back first|batch|holds the whole|one by one", text(EXAMPLES[name]()))


@pytest.mark.parametrize(
    ("serving", "age"),
    [
        (Serving(Dispatch.ARRIVAL), "the queues of other nodes as they are then,"),
        (Serving(Dispatch.SPLIT, news_s=0.5), "the queues of other nodes as they were 0.5 s before,"),
    ],
)
def test_the_scheduler_is_told_how_old_the_news_is_and_no_batch_where_there_is_none(serving: Serving, age: str) -> None:
    told = text(scheduler(replace(BRISTOL, serving=serving)))
    assert age in told
    assert "batch" not in told
    assert "538 s of work, oldest" in told


def test_a_request_goes_to_one_node_or_its_prompts_to_several() -> None:
    assert "its origin sends it to that of these nodes" in text(scheduler(BY_REQUEST))
    assert "its origin deals its prompts, one after the other," in text(scheduler(BY_PROMPT))
    assert "each request goes to that of them from which it is back first" in planner(BY_REQUEST)
    assert "the prompts of each request are dealt to those of them" in planner(BY_PROMPT)
    assert "picks target nodes near your shares" in planner(BRISTOL)


@pytest.mark.parametrize(
    ("batching", "sentence"),
    [
        (Batching.REQUEST, "A pod computes prompts of one request together, as a batch."),
        (Batching.QUEUE, "A pod computes prompts that wait together, as a batch, of whatever requests they are."),
    ],
)
def test_batches_are_told_to_all_roles_with_what_the_largest_takes(batching: Batching, sentence: str) -> None:
    cluster = replace(BRISTOL, serving=Serving(batching=batching))
    for told in (
        planner(cluster),
        text(scheduler_messages(cluster, busy(), policy())),
        text(deployer("VM2", cluster)),
        text(deployer("VM3", cluster)),
        text(deployer("VM7", cluster)),
    ):
        assert f"\n- {sentence}\n" in told
        assert re.search(r"a batch of \d+ as long as [\d.]+ prompts", told)
    assert "pods alone on a GPU" in planner(BRISTOL)
    assert "pods on all cores of a node, prompts one by one" in planner(cluster)


def test_copies_are_told_where_a_pod_can_be_on_several_gpus() -> None:
    copies = "holds the whole LM on each of them"
    assert copies in text(deployer("VM7", BY_PROMPT))
    assert copies not in text(deployer("VM3", BY_PROMPT))
    assert "A pod on several GPUs holds the LM on each of them" in planner(BY_PROMPT)
    assert "an equal part with each." in text(deployer("VM7", BY_REQUEST))


def test_a_deployer_of_mig_slices_is_told_that_a_pod_has_one() -> None:
    nodes = (*BRISTOL.nodes[:-1], replace(BRISTOL.nodes[-1], vgpus_per_gpu=1, mig=True))
    cluster = replace(BRISTOL, nodes=nodes)
    told = text(deployer_messages(cluster, quiet(cluster), 5, policy().roles[5]))
    assert "slices of larger ones, which MIG divides: a pod has one vGPU" in told
    assert "works on them one after the other" not in told


def test_on_a_large_cluster_no_origin_has_an_entry_of_its_own() -> None:
    large = replace(generate_testbed(40, seed=1), serving=BY_REQUEST.serving)
    own = "Give one an entry of its own only where"
    assert own in text(scheduler(BY_REQUEST))
    told = text(scheduler_messages(large, quiet(large), MacroPolicy.unrestricted(large)))
    assert own not in told
    assert '"routes": [{"origin": "*", "nodes": {' in told

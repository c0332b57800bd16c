"""What the agents are told, word for word, and what holds of it whatever the cluster is called.

The golden files hold whole prompts. After a change that is meant, write them anew and read the difference:

    UPDATE_GOLDEN=1 python -m pytest tests/prompts && git diff tests/prompts/golden
"""

import dataclasses
import os
import re
import string
from pathlib import Path

import numpy as np
import pytest

from domain.decisions import MacroPolicy
from prompts.deployer import DeployerPrompts, deployer_messages
from prompts.messages import Message, count
from prompts.planner import planner_messages
from prompts.scheduler import scheduler_messages
from tests.clusters import quiet
from tests.prompt_examples import (
    BRISTOL,
    EXAMPLES,
    Recalled,
    busy,
    case,
    deployer,
    first_epoch,
    later_epoch,
    policy,
    scheduler,
)
from twin.testbeds import generate_testbed

GOLDEN = Path(__file__).parent / "golden"
PROMPTS = Path(__file__).parents[2] / "prompts"
DOCS = Path(__file__).parents[2] / "docs" / "prompts.md"


def shown(messages: list[Message]) -> str:
    return "\n".join(f"<{message['role']}>\n{message['content']}\n" for message in messages)


def user(messages: list[Message]) -> str:
    return messages[1]["content"]


# Word for word


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_prompt_says_what_its_golden_file_says(name: str) -> None:
    path, text = GOLDEN / f"{name}.md", shown(EXAMPLES[name]())
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.md")} == set(EXAMPLES)


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*.md")), ids=lambda path: path.stem)
def test_a_template_has_one_line_between_instructions_and_state_and_no_stray_gap(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n---\n") == (0 if path.stem == "repair" else 1)
    assert string.Template(text).is_valid()
    assert text.count("$") == len(re.findall(r"\$[a-z_]+", text))


# What does not change comes first


def test_instructions_stay_the_same_while_the_state_changes() -> None:
    calm = quiet(BRISTOL, slot=52)
    unrestricted = MacroPolicy.unrestricted(BRISTOL)
    pairs = [
        (first_epoch(), later_epoch()),
        (scheduler(), scheduler_messages(BRISTOL, calm, unrestricted)),
        (deployer("VM7"), deployer_messages(BRISTOL, calm, 5, unrestricted.roles[5])),
    ]
    for before, after in pairs:
        assert before[0] == after[0]
        assert before[1] != after[1]
        assert [message["role"] for message in before] == ["system", "user"]


def test_nodes_of_one_hardware_share_their_instructions_up_to_the_name() -> None:
    one, other = (deployer(name)[0]["content"] for name in ("VM3", "VM6"))
    assert one != other
    assert one.replace('"VM3"', '"VM6"') == other
    assert one.index('"VM3"') > len(one) / 3


def test_each_hardware_profile_has_instructions_of_its_own() -> None:
    on_cpu, one_gpu, two_gpus = (deployer(name)[0]["content"] for name in ("VM2", "VM3", "VM7"))
    assert "vGPU" not in on_cpu
    assert "LM4" not in on_cpu, "it cannot run there"
    assert "a single GPU" in one_gpu
    assert "several GPUs" in two_gpus


def test_a_deployer_is_told_of_its_own_node_alone() -> None:
    text = shown(deployer("VM7"))
    assert set(re.findall(r"VM\d", text)) == {"VM7"}
    assert "96 prompts" not in text


def test_prompts_kept_for_a_cluster_are_those_made_for_one_question() -> None:
    prompts = DeployerPrompts(BRISTOL)
    for snapshot in (busy(), quiet(BRISTOL), quiet(BRISTOL), busy()):
        for n in range(BRISTOL.n_nodes):
            assert prompts.messages(snapshot, n, policy().roles[n]) == deployer_messages(
                BRISTOL, snapshot, n, policy().roles[n]
            )


# What the planner learns from the past


def test_falling_behind_the_random_baseline_calls_for_correction() -> None:
    text = user(later_epoch())
    assert "a random macro-policy on this cluster came to mean latency 300 s, F 0.62, J 0.357" in text
    assert "The last epoch did worse than that in mean latency. Corrective action is due" in text
    worse = {"mean_latency_s": 100.0, "fairness": 0.9, "objective": 0.1}
    assert "worse than that in mean latency and F and J" in user(later_epoch(baseline=worse))
    beaten = {"mean_latency_s": 400.0, "fairness": 0.5, "objective": 0.5}
    assert "The last epoch did better than that throughout" in user(later_epoch(baseline=beaten))


def test_an_epoch_without_success_is_worse_than_any_baseline() -> None:
    failed = dataclasses.replace(case(7), global_mean_latency_s=None, fairness=0.0, latency_norm=1.0, objective=1.0)
    text = user(later_epoch(last=failed))
    assert "No request succeeded, T 1, F 0, J 1" in text
    assert "worse than that in mean latency and F and J" in text


def test_a_baseline_may_lack_figures_or_be_missing() -> None:
    assert "came to F 0.62. " not in user(later_epoch(baseline={"fairness": 0.62}))
    assert "came to F 0.62.\n" in user(later_epoch(baseline={"fairness": 0.62}))
    assert "random macro-policy on this cluster" not in user(later_epoch(baseline=None))


def test_a_case_is_told_once_and_the_last_epoch_in_its_own_place() -> None:
    text = user(later_epoch())
    assert text.count("epoch 3 of this run") == 1
    assert "epoch 7 of" not in text
    assert "It is among the best that memory holds." in text
    order = [
        text.index(label) for label in ("- Best: epoch 3", "- Worst, to be avoided: epoch 1", "- Like the present")
    ]
    assert order == sorted(order)


def test_runs_are_not_named_for_their_names_change_and_say_nothing() -> None:
    others = Recalled(best=(case(3),), worst=(case(4, run="tuesday-8a1f"),))
    text = user(later_epoch(recalled=others))
    assert "- Best: epoch 3 of this run, decided by" in text
    assert "- Worst, to be avoided: epoch 4 of another run, decided by" in text
    assert "monday" not in text
    assert "tuesday" not in text


def test_what_a_rehearsal_expected_stands_beside_what_came() -> None:
    predicted = dataclasses.replace(case(7), predicted_objective=0.11)
    assert "J 0.27 (rehearsal expected 0.11)" in user(later_epoch(last=predicted))


def test_cases_are_left_out_from_the_end_of_the_stated_order() -> None:
    recalled = Recalled(
        tuple(case(k, run="best") for k in range(3)),
        tuple(case(k, run="worst") for k in range(3)),
        tuple(case(k, run="near") for k in range(3)),
    )
    kinds = {"Best": "best", "Worst, to be avoided": "worst", "Like the present": "near"}
    ranks = [(k, run) for k in range(3) for run in kinds.values()]
    told = []
    for budget in range(0, 6000, 60):
        messages = later_epoch(recalled=recalled, token_budget=budget)
        found = re.findall(r"- ([\w, ]+): epoch (\d) of another run", user(messages))
        assert {(int(k), kinds[kind]) for kind, k in found} == set(ranks[: len(found)])
        assert not found or count(messages) <= budget
        left_out = f"({9 - len(found)} more left out for their length)"
        assert (left_out in user(messages)) == (len(found) < 9)
        told.append(len(found))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 9)


# The state


def test_a_pending_pod_binds_the_deployer_and_is_shown_as_it_wants_to_be() -> None:
    text = user(deployer("VM3"))
    assert '- "LM1" {"mode": "gpu", "amount": 2}: Pending for 2 vGPUs; nothing waits' in text
    assert "A pod is Pending: until it runs, each LM can only stay as it is above, or be turned off." in text
    assert "Pending" not in user(deployer("VM7"))


def test_a_pod_that_shuts_down_is_off_in_the_answers_form_and_still_holds_its_part() -> None:
    text = user(deployer("VM5"))
    assert '- "LM2" {"mode": "off", "amount": 0}: shutting down from 4 cores, 3.5 s left; nothing waits' in text
    assert "Free: 11 of 16 cores" in text


def test_a_node_that_could_not_be_read_is_said_to_be_unknown() -> None:
    assert "The node could not be read, so the figures above may be wrong: keep each LM as it is." in user(
        deployer("VM4")
    )
    assert "These figures are 75 seconds old." in user(deployer("VM5"))
    lines = user(scheduler()).splitlines()
    assert next(line for line in lines if line.startswith('- "VM4"')).endswith("| not read, figures unknown")
    assert next(line for line in lines if line.startswith('- "VM5"')).endswith("| read 75 s ago")


def test_a_queue_is_told_in_seconds_of_work_where_a_pod_serves_it() -> None:
    text = user(scheduler())
    assert '"LM4" on 1 vGPU, ready; 96 prompts = 538 s of work, oldest 310 s' in text  # 96 x 5.6 s
    assert '"LM2" 8 prompts, oldest 40 s' in text  # no pod: no speed


def test_a_run_without_a_planner_leaves_every_feasible_role_open() -> None:
    text = user(scheduler_messages(BRISTOL, quiet(BRISTOL), MacroPolicy.unrestricted(BRISTOL)))
    assert '- "VM2": roles "LM1"+"LM2" | nothing on, nothing waiting' in text
    assert '- "LM4" to "VM3" 20 %, "VM4" 20 %, "VM5" 20 %, "VM6" 20 %, "VM7" 20 %' in text


def test_a_node_without_a_role_is_told_so() -> None:
    none = np.zeros(BRISTOL.n_lms, dtype=np.bool_)
    assert "Role: none. Everything else stays off." in user(deployer_messages(BRISTOL, quiet(BRISTOL), 0, none))


def test_large_clusters_are_told_of_in_sums_and_by_their_heaviest() -> None:
    cluster = generate_testbed(60, seed=2)
    snapshot = quiet(cluster)
    snapshot.backlog_prompts[:, 0] = np.arange(60)
    names = [node.name for node in cluster.nodes]
    traffic = {"LM1": {name: float(k) for k, name in enumerate(names)}}
    text = user(
        planner_messages(
            cluster, snapshot=snapshot, traffic=traffic, last=None, baseline=None, recalled=Recalled((case(1),))
        )
    )
    assert f'from "{names[59]}" 59, "{names[58]}" 58' in text
    assert f"47 more nodes {sum(range(1, 48))}" in text
    assert '- "LM1" 1770 prompts' in text

"""What was decided over a run, in words: small clusters node by node, large ones by hardware, one slot, two runs."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import Any

import pytest

from domain.errors import InputError
from domain.ledger import Attempt, Decision, Outcome, Reason, Role
from runtime.show.brief import brief
from runtime.show.diff import difference
from runtime.show.kept import percent, shares
from runtime.show.slot import one_slot
from runtime.show.tables import overview
from tests.histories import PODS, READY, REQUESTS, SLOTS, history, many, printed

GOLDEN = """\
    tiny, workload p1: RL, seed 1

    What each node kept, over 10 slots with new requests

     node   LM    ready  ready pods had           starts  longest  prompts  in time
     ──────────────────────────────────────────────────────────────────────────────
     north  chat   100%  4 cores                       1       10        8      75%
     south  chat    60%  1 vGPU 50%, 2 cores 10%       2        5        7     100%
            draw   100%  2 vGPUs                       1       10        7     100%

    Where prompts went

     LM    from   prompts  to                     in time
     ────────────────────────────────────────────────────
     chat  north       10  itself 80%, south 20%      80%
           south        5  itself 100%               100%
     draw  north        4  south 100%                100%
           south        3  itself 100%               100%

    ready: share of the slots (30 s each) at whose end a pod was ready. longest:
    slots of the longest such stretch.
    in time: share of the prompts that were answered within 60 s.
    """


def decision(role: Role, node: str | None, decided_by: str, outcome: Outcome, **more: Any) -> Decision:
    return Decision("RL-seed1", 3, role, node, decided_by, outcome, {}, **more)


def test_a_run_is_shown_node_by_node_with_where_prompts_went() -> None:
    assert printed(overview(history())) == dedent(GOLDEN).rstrip()


def test_the_short_form_says_of_each_lm_where_it_is_and_who_gets_its_prompts() -> None:
    text = printed(brief(history()), width=100)
    assert text.startswith("What RL decided\n")
    assert " chat   1.6  north 4 cores 100%, south mostly 1 vGPU 60%   87%  north 53%, south 47%\n" in text
    assert " draw   1.0  south 2 vGPUs 100%                            43%  south 100%\n" in text
    printed(brief(history()), width=80)


def test_a_folder_that_holds_no_placement_says_so_and_shows_the_flows() -> None:
    text = printed(overview(history(pods=None, routes=None)))
    assert "does not hold what its nodes kept" in text
    assert " chat  north       10  itself 80%, south 20%      80%" in text
    assert "100%  4 cores" not in text


def test_one_node_is_shown_with_where_its_prompts_came_from() -> None:
    text = printed(overview(history(), "south"))
    assert "What south kept" in text
    assert "north  chat" not in text
    assert " chat        7  itself 71%, north 29%" in text
    with pytest.raises(InputError, match=r"no node 'west' in runs/tiny; its nodes are north, south\."):
        printed(overview(history(), "west"))


def test_a_large_cluster_is_summed_up_by_hardware_and_fits_the_terminal() -> None:
    cluster = many(600)
    pods = [(n, i, 0, SLOTS, READY, 0, 1) for n in range(600) for i in range(2) if n < 300 or i == 0]
    requests = [(s, 0, n, (n + 2) % 600, 1 + (n == 7), True) for s in range(2) for n in range(600)]
    text = printed(overview(history(cluster, pods=pods, requests=requests)))
    assert " 1x G, 4 cores    600  chat   100%  1 vGPU            1,202     100%" in text
    assert "                       draw    50%  1 vGPU                0        –" in text
    assert " node-009  site-1        4     100%  chat 100%, draw 100%" in text
    assert " chat    1,202    0%       100%           0%       0%  1x G, 4 cores 100%" in text
    assert len(text.splitlines()) < 60
    assert len(printed(brief(history(cluster, pods=pods, requests=requests))).splitlines()) < 14
    assert "node-009" not in printed(overview(history(cluster, pods=pods, requests=requests), "node-300"))


def test_a_slot_shows_the_state_that_it_leaves_and_marks_what_it_changed() -> None:
    text = printed(one_slot(history(), 3, None))
    assert "Slot 3, from 90 s to 120 s, epoch 0\n" in text
    assert "Planner: nobody: every node may host what it can run." in text
    assert "Scheduler: rule random" in text
    assert " north  itself   south" in text
    assert " north  4 cores   off      rule lyapunov" in text  # decided nothing, and keeps what it had
    assert " south  1 vGPU *  2 vGPUs  rule lyapunov" in text
    assert "1 vGPU, starting *" in printed(one_slot(history(), 2, None))
    assert " south  off *    2 vGPUs" in printed(one_slot(history(), 8, None))
    assert "(no new requests any more)" in printed(one_slot(history(), 11, None))
    assert "{}" not in text
    with pytest.raises(InputError, match="has slots 0 to 11; there is no slot 12"):
        printed(one_slot(history(), 12, None))


def test_a_slot_shows_the_macro_policy_that_a_rule_wrote() -> None:
    policy = {"routing": {"chat": {"north": 0.25, "south": 0.75}}, "roles": {}}
    text = printed(one_slot(replace(history(family="RH"), policies={0: {"routing": {}}, 2: policy}), 3, None))
    assert "Planner: rule rehearsal, in slot 2, still in force\n  chat: south 75%, north 25%\n" in text


def test_a_slot_says_who_decided_and_why_where_a_ledger_knows() -> None:
    broken = Attempt((), '{"reasoning": "South is\\nidle.", "routes": {}}', ("north -> chat is missing",))
    repaired = Attempt((), 'Sure: {"reasoning": "All to south.", "routes": {}}')
    silent = Attempt((), None, error="timeout: no answer in 30 s")
    known = [
        decision(Role.PLANNER, None, "rehearsal:rotate", Outcome.OVERRULED, attempts=(repaired,)),
        decision(Role.SCHEDULER, None, "agent:m", Outcome.REPAIRED, attempts=(broken, repaired)),
        decision(
            Role.DEPLOYER,
            "north",
            "fallback:lyapunov",
            Outcome.FALLBACK,
            attempts=(silent,),
            reason=Reason.TIMEOUT,
        ),
        decision(
            Role.DEPLOYER,
            "south",
            "rehearsal:steady",
            Outcome.OVERRULED,
            rehearsal={
                "proposed": {"chat": {"cores": 1}, "draw": "off"},
                "proposed_objective": 0.5,
                "incumbent_objective": 0.25,
            },
        ),
    ]
    text = printed(one_slot(history(), 3, known), width=100)
    assert "Planner: rehearsal rotate (overruled), in slot 3\n" in text
    assert "overruled: the twin predicted it to be worse than what was taken\n" in text
    assert (
        "Scheduler: agent m (repaired)\n  answer 1, why: South is idle.\n"
        "  answer 1 broke a rule: north -> chat is missing\n  answer 2, why: All to south.\n"
    ) in text
    assert "north  4 cores   off      fallback lyapunov (timeout)" in text
    assert "south  1 vGPU *  2 vGPUs  rehearsal steady (overruled)" in text
    assert "worse than what was taken (J 0.500, not 0.250); it was chat 1 core, draw off" in " ".join(text.split())
    assert "north\n  answer did not come: timeout: no answer in 30 s" in text


def test_two_families_are_compared_largest_difference_first() -> None:
    local = [(slot, lm, origin, origin if lm == 0 else 1, prompts, ok) for slot, lm, origin, _, prompts, ok in REQUESTS]
    other = history(family="LL", pods=[PODS[0], (1, 1, 0, 12, READY, 0, 1)], requests=local)
    text = printed(difference(history(), other))
    assert "In 42% of all slots, nodes and LMs the two keep something else." in text
    assert "Of the same requests, 17% go to another node." in text
    rows = [line for line in text.splitlines() if line.startswith((" south", " chat"))]
    assert rows == [
        " south  draw    100%  100%, 2 vGPUs                 100%, 1 vGPU",
        " south  chat     70%  60%, 1 vGPU 50%, 2 cores 10%  never",
        " chat  north     20%  itself 80%, south 20%  itself 100%",
    ]


def test_runs_that_decide_alike_differ_in_no_row_and_other_clusters_are_refused() -> None:
    text = printed(difference(history(), history(family="LL")))
    assert "In 0% of all slots" in text
    assert text.count("No row differs in more than 5%.") == 2
    with pytest.raises(InputError, match="have other nodes: they cannot be compared"):
        printed(difference(history(), history(many(3))))


def test_shares_name_the_largest_and_never_round_to_nothing_or_all() -> None:
    assert shares(["a", "b", "c", "d", "e"], [1, 50, 0, 29, 20], 2) == "b 50%, d 29%, 2 more 21%"
    assert shares(["a", "b"], [0, 0], 2) == "–"
    assert (percent(0.001), percent(0.999), percent(0.0), percent(1.0)) == ("<1%", ">99%", "0%", "100%")

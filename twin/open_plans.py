"""Compiled: slots in which origins choose where requests go, or pods take batches (docs/twin.md, The choice).

Requests are routed one after the other, and a node is played up to the moment at which an origin looks at it. News of
age is another state of the same cluster, that much behind; what happens there is not recorded.
"""

from __future__ import annotations

import numpy as np

from domain.decisions import NOWHERE
from twin.batches import serve_batches
from twin.choice import deal, look
from twin.compiled import compiled, compiled_call, compiled_entry
from twin.engine import begin, border, last_moment, serve_queues
from twin.layout import ARRIVED_REQUESTS, ENDED, SLOT, WAITING, FloatArray, IntArray, Output, Schedule, State
from twin.queues import arrive, divide, moment, refuse, send
from twin.scratch import PROMPT, Scratch
from twin.tables import Tables


def serve(tables: Tables, state: State, out: Output, scratch: Scratch, n: int, t0: float, t1: float) -> None:
    """Serve all queues of node n from t0 to t1, however the cluster serves them."""
    if tables.by_batch:
        serve_batches(tables, state, out, scratch, n, t0, t1)
    else:
        serve_queues(tables, state, out, scratch, n, t0, t1)


serve_node, serve_news = compiled(serve), compiled_call(serve)


@compiled_call
def begin_news(
    tables: Tables, news: State, n: int, t0: float, t1: float, cores: IntArray, vgpus: IntArray, decided: int
) -> None:
    """Begin a slot where the news is."""
    begin(tables, news, n, t0, t1, cores, vgpus, decided)


def put_into_queues(
    tables: Tables,
    state: State,
    scratch: Scratch,
    nodes: IntArray,
    request: int,
    at_s: float,
    origin: int,
    i: int,
    prompts: int,
    target: int,
    parts: int,
) -> None:
    """Send a request to its target, or its parts to `nodes` as they were dealt (`scratch.dealt`)."""
    state.counters[WAITING] += 1
    whole = divide(state, parts, prompts) if parts > 1 else -1
    j = 0
    while parts > 0:
        n, share = target, prompts
        if whole >= 0:
            n, share = nodes[j], scratch.dealt[j]
        if share > 0:
            send(tables, state, request, at_s, origin, i, share, n, whole)
            parts -= 1
        j += 1


enter, enter_news = compiled(put_into_queues), compiled_call(put_into_queues)


@compiled_call
def follow(
    tables: Tables,
    news: State,
    waste: Output,
    scratch: Scratch,
    n: int,
    r: float,
    t0: float,
    t1: float,
    schedule: Schedule,
    t: int,
) -> None:
    """Play node n of the news up to r, which lies in slot t or the one before."""
    clock = news.clock
    while clock[n] < r:
        until = t0 if clock[n] < t0 < r else r
        news.counters[ENDED] = 0
        serve_news(tables, news, waste, scratch, n, clock[n], until)
        clock[n] = until
        if until == t0:
            begin_news(tables, news, n, t0, t1, schedule.cores[t, n], schedule.vgpus[t, n], schedule.decided[t, n])


@compiled_entry
def advance_open(
    tables: Tables,
    state: State,
    news: State,
    time_s: FloatArray,
    origin: IntArray,
    lm: IntArray,
    prompts: IntArray,
    schedule: Schedule,
    out: Output,
    waste: Output,
    scratch: Scratch,
) -> int:
    """Run the slots that the schedule covers, from the state's slot on; return how many records were written.

    Arrivals are in order of time and lie within those slots. The pools of the state, and the outputs, must have room
    for all that wait or arrive. `news` is `state` itself where news is not of age.
    """
    counters, slot_s, slots, clock = state.counters, tables.slot_s, schedule.targets.shape[0], state.clock
    counters[ENDED] = 0
    aged, q, nodes = tables.news_ns > 0.0, 0, state.pod_i.shape[0]
    for t in range(slots):
        start_s, end_s = counters[SLOT] * slot_s, (counters[SLOT] + 1) * slot_s
        t0, t1, first_s, beyond_s = moment(start_s), moment(end_s), border(start_s), border(end_s)
        state.pod_i[:, :, ARRIVED_REQUESTS:] = 0
        for n in range(nodes):
            begin(tables, state, n, t0, t1, schedule.cores[t, n], schedule.vgpus[t, n], schedule.decided[t, n])
            clock[n] = t0
            if aged and news.clock[n] >= t0:  # at the start of the run alone
                begin_news(tables, news, n, t0, t1, schedule.cores[t, n], schedule.vgpus[t, n], schedule.decided[t, n])
        is_open = schedule.is_open[t] != 0
        while True:
            coming = q < time_s.shape[0] and (time_s[q] < beyond_s or t == slots - 1)
            at_s, o, i, allowed = end_s, 0, 0, nodes
            if coming:
                at_s = start_s if time_s[q] < first_s else last_moment(end_s) if time_s[q] >= beyond_s else time_s[q]
                o, i = origin[q], lm[q]
                allowed = 0
            at = moment(at_s)
            row = min(o, schedule.allowed.shape[1] - 1)
            if coming and is_open:
                while allowed < schedule.allowed.shape[3] and schedule.allowed[t, row, i, allowed] >= 0:
                    allowed += 1
            known = 0
            for j in range(allowed):
                n, own = j, True
                if coming:
                    n = schedule.allowed[t, row, i, j]
                    own = not aged or n == o
                if own and clock[n] < at:
                    serve_node(tables, state, out, scratch, n, clock[n], at)
                    clock[n] = at
                if coming:
                    scratch.option[PROMPT, j] = np.inf
                    if own:
                        known += look(tables, state, state, scratch, j, n, i, o, at, at)
                    else:
                        follow(tables, news, waste, scratch, n, at - tables.news_ns, t0, t1, schedule, t)
                        r = max(at - tables.news_ns, news.clock[n])
                        known += look(tables, state, news, scratch, j, n, i, o, at, r)
            if not coming:
                break
            request, target, parts = arrive(state, o, i, prompts[q]), schedule.targets[t, o, i], 1
            if is_open:
                target = NOWHERE
                if allowed > 0:
                    sets, weight = schedule.allowed[t, row, i], schedule.weight[t, row, i]
                    parts = deal(tables, state, scratch, sets, weight, known, i, o, at, prompts[q])
                    for j in range(allowed):
                        if scratch.dealt[j] == prompts[q]:
                            target = sets[j]
            if target == NOWHERE and parts == 1:
                refuse(state, out, request, at_s, o, i, prompts[q])
            else:
                enter(
                    tables, state, scratch, schedule.allowed[t, row, i], request, at_s, o, i, prompts[q], target, parts
                )
                if aged:
                    enter_news(
                        tables,
                        news,
                        scratch,
                        schedule.allowed[t, row, i],
                        request,
                        at_s,
                        o,
                        i,
                        prompts[q],
                        target,
                        parts,
                    )
            q += 1
        if aged:
            for n in range(nodes):
                follow(tables, news, waste, scratch, n, max(t0, t1 - tables.news_ns), t0, t1, schedule, t)
        counters[SLOT] += 1
    return int(counters[ENDED])

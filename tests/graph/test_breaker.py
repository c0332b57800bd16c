"""The circuit breaker and the budget: who is refused, and when that ends."""

from collections.abc import Callable

import pytest

from domain.errors import InputError
from graph.models.breaker import CircuitBreaker, Leave
from graph.models.budget import Budget, BudgetExhaustedError, Limits, Price, read_prices


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Callable[[], float]) -> CircuitBreaker:
    return CircuitBreaker(failures=3, pause_s=60.0, clock=clock)


def leave(it: CircuitBreaker) -> Leave:
    given = it.admit()
    assert given is not None
    return given


def opened(clock: Callable[[], float]) -> CircuitBreaker:
    it = breaker(clock)
    for _ in range(3):
        leave(it).fail()
    return it


def test_a_breaker_opens_after_failures_in_a_row_only(clock: Clock) -> None:
    it = breaker(clock)
    for fate in (Leave.fail, Leave.fail, Leave.succeed, Leave.fail, Leave.fail):
        fate(leave(it))
    assert not it.is_open
    leave(it).fail()
    assert it.is_open
    assert not it.admit()
    assert it.seconds_left == 60.0


def test_after_the_pause_one_question_goes_through_and_its_success_closes_the_breaker(clock: Clock) -> None:
    it = opened(clock)
    clock.now += 59.9
    assert not it.admit()
    clock.now += 0.1
    first = leave(it)
    assert not it.admit(), "a second question must wait for the fate of the first"
    first.succeed()
    assert it.admit()
    assert it.admit()


def test_a_failure_after_the_pause_opens_the_breaker_for_another_pause(clock: Clock) -> None:
    it = opened(clock)
    clock.now += 60
    leave(it).fail()
    clock.now += 59.9
    assert not it.admit()
    clock.now += 0.1
    assert it.admit()


def test_a_question_taken_back_after_the_pause_leaves_the_place_to_another(clock: Clock) -> None:
    it = opened(clock)
    clock.now += 60
    leave(it).withdraw()
    assert it.admit()


def test_late_failures_of_questions_asked_side_by_side_do_not_lengthen_the_pause(clock: Clock) -> None:
    it = breaker(clock)
    late, *others = [leave(it) for _ in range(4)]
    for other in others:
        other.fail()
    clock.now += 30
    late.fail()
    assert it.seconds_left == 30.0


@pytest.mark.parametrize("fate", [Leave.succeed, Leave.fail, Leave.withdraw])
def test_the_fate_of_a_question_from_before_the_pause_says_nothing_about_the_one_that_tries_the_server(
    fate: Callable[[Leave], None], clock: Clock
) -> None:
    it = breaker(clock)
    late, *others = [leave(it) for _ in range(4)]
    for other in others:
        other.fail()
    clock.now += 60
    trying = leave(it)
    fate(late)
    assert not it.admit(), "only the one that was let through can let in another"
    trying.succeed()
    assert not it.is_open
    again = [leave(it) for _ in range(2)]
    for other in again:
        other.fail()
    late.fail()
    trying.fail()
    assert not it.is_open, "questions from before the server was well again do not count"


def test_a_server_is_left_alone_for_as_long_as_it_asks(clock: Clock) -> None:
    it = breaker(clock)
    leave(it).hold(120.0)
    assert not it.admit()
    clock.now += 120
    leave(it).succeed()
    assert it.admit()


def test_of_several_pauses_that_a_server_asks_for_at_once_the_longest_counts(clock: Clock) -> None:
    it = breaker(clock)
    side_by_side = [leave(it) for _ in range(3)]
    for own, seconds in zip(side_by_side, (30.0, 120.0, 60.0), strict=True):
        own.hold(seconds)
    assert it.seconds_left == 120.0
    clock.now += 120
    leave(it).succeed()
    assert not it.is_open


def test_a_pause_that_was_asked_for_before_the_server_was_well_again_is_not_kept(clock: Clock) -> None:
    it = breaker(clock)
    late = [leave(it) for _ in range(2)]
    leave(it).hold(30.0)
    clock.now += 30
    trying = leave(it)
    late[0].hold(600.0)
    trying.succeed()
    assert not it.is_open, "the question that was let through tells more than one from before"
    late[1].hold(600.0)
    assert not it.is_open
    assert it.admit()


def test_a_breaker_that_could_never_open_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 failure"):
        CircuitBreaker(failures=0)


def test_questions_side_by_side_cannot_overdraw_the_tokens_of_a_slot(clock: Clock) -> None:
    account = Budget(Limits(tokens=1000), clock).account(7)
    first = account.reserve(100, 300, None)
    account.reserve(100, 300, None)
    with pytest.raises(BudgetExhaustedError, match="could take 400 tokens and 200 of the slot's 1000 are left"):
        account.reserve(100, 300, None)
    account.settle(first, 90, 10, None)
    account.reserve(100, 300, None)
    assert account.tokens == 100 + 400 + 400


def test_a_question_that_the_server_did_not_take_costs_nothing(clock: Clock) -> None:
    account = Budget(Limits(tokens=400, cost_usd=1.0), clock).account(0)
    price = Price(1.0, 1.0)
    account.give_back(account.reserve(100, 300, price))
    assert (account.tokens, account.cost_usd) == (0, 0.0)


def test_money_is_counted_by_the_users_prices(clock: Clock) -> None:
    account = Budget(Limits(cost_usd=0.01), clock).account(0)
    price = Price(prompt_usd=2.5, completion_usd=10.0)
    held = account.reserve(1000, 700, price)
    assert account.cost_usd == pytest.approx(0.0095)
    with pytest.raises(BudgetExhaustedError, match=r"could cost 0\.0095 USD and 0\.0005 of the slot's 0\.01 are left"):
        account.reserve(1000, 700, price)
    account.settle(held, 1000, 50, price)
    assert account.cost_usd == pytest.approx(0.003)


def test_the_next_slot_has_a_new_account_and_the_same_slot_the_same(clock: Clock) -> None:
    budget = Budget(Limits(tokens=400, seconds=10.0), clock)
    account = budget.account(0)
    account.reserve(100, 300, None)
    with account.asking():
        clock.now += 4
        assert budget.account(0) is account
        assert account.seconds_left == 6.0
        clock.now += 26
        assert account.seconds_left == 0.0
    assert account.seconds_left == 0.0
    assert (budget.account(1).tokens, budget.account(1).seconds_left) == (0, 10.0)


def test_seconds_are_spent_while_questions_are_under_way_and_side_by_side_only_once(clock: Clock) -> None:
    account = Budget(Limits(seconds=10.0), clock).account(0)
    clock.now += 100  # a person thinks, the twin rehearses
    with account.asking():
        clock.now += 1
        with account.asking():
            clock.now += 2
        clock.now += 1
    clock.now += 100
    assert account.seconds_left == 6.0


@pytest.mark.parametrize("field", ["tokens", "cost_usd", "seconds"])
def test_a_budget_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} a slot is none"):
        Limits(**{field: 0})


def test_prices_come_from_the_user_and_a_bad_one_names_file_and_model() -> None:
    good = {"prompt_usd": 1.25, "completion_usd": 10}
    assert read_prices({"gpt-5": good}, "prices.yaml") == {"gpt-5": Price(1.25, 10.0)}
    bad: list[object] = [{"prompt_usd": 1}, {**good, "prompt_usd": -1}, {**good, "prompt_usd": "x"}, 3, None]
    for entry in [*bad, {**good, "completion_usd": float("nan")}]:
        with pytest.raises(InputError, match=r"prices\.yaml: the price of gpt-5 needs prompt_usd and completion_usd"):
            read_prices({"gpt-5": entry}, "prices.yaml")

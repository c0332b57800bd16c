"""The clock of a simulated world: slots are as long as live ones, and what takes time within one takes its time."""

from __future__ import annotations

from graph.models.breaker import CircuitBreaker
from graph.models.slot_clock import SlotClock


class Wall:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_slot_is_as_long_as_a_live_one_however_soon_it_is_over() -> None:
    wall = Wall()
    clock = SlotClock(30.0, wall)
    assert (clock(), clock.left_s) == (0.0, 30.0)
    wall.now += 0.01
    clock.next_slot()
    assert clock() == 30.0
    wall.now += 12
    assert (clock(), clock.left_s) == (42.0, 18.0)


def test_what_takes_longer_than_the_slot_takes_no_more_than_the_slot() -> None:
    wall = Wall()
    clock = SlotClock(30.0, wall)
    wall.now += 3600  # a person thinks
    assert (clock(), clock.left_s) == (30.0, 0.0)
    clock.next_slot()
    assert clock() == 30.0, "and the next one begins where it ended"


def test_a_breaker_pauses_for_slots_of_the_world_not_for_seconds_of_the_wall() -> None:
    wall = Wall()
    clock = SlotClock(30.0, wall)
    breaker = CircuitBreaker(failures=1, pause_s=60.0, clock=clock)
    wall.now += 2
    leave = breaker.admit()
    assert leave is not None
    leave.fail()
    refused = 0
    for _ in range(10):
        wall.now += 0.001
        clock.next_slot()
        if breaker.admit() is not None:
            break
        refused += 1
    assert refused == 2, "60 s are two slots, although milliseconds passed here"

import pytest

from domain.batching import BatchCurve

CURVE = BatchCurve(((1, 1.0), (2, 1.2), (8, 3.0)))


def test_a_batch_takes_what_the_curve_says_and_a_straight_line_between_its_points() -> None:
    assert [CURVE.factor(b) for b in (1, 2, 5, 8)] == pytest.approx([1.0, 1.2, 2.1, 3.0])


def test_a_request_is_full_batches_first_and_the_rest_last() -> None:
    assert CURVE.work(0) == 0.0
    assert CURVE.work(8) == pytest.approx(3.0)
    assert CURVE.work(18) == pytest.approx(3.0 + 3.0 + 1.2)


def test_without_a_curve_prompts_are_computed_one_by_one() -> None:
    assert BatchCurve().work(5) == 5.0


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ((), "begins with a batch of 1"),
        (((2, 1.0),), "begins with a batch of 1"),
        (((1, 2.0),), "begins with a batch of 1"),
        (((1, 1.0), (1, 1.0)), "sizes must rise"),
        (((1, 1.0), (4, 0.9)), "cannot take less"),
        (((1, 1.0), (4, float("nan"))), "cannot take less"),
        (((1, 1.0), (4, 4.1)), "cannot take more"),
    ],
)
def test_a_curve_that_no_machine_has_is_refused(points: tuple[tuple[int, float], ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        BatchCurve(points)


@pytest.mark.parametrize("prompts", [0, 9])
def test_a_batch_of_another_size_is_refused(prompts: int) -> None:
    with pytest.raises(ValueError, match="1 to 8 prompts"):
        CURVE.factor(prompts)

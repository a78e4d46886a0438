"""Which exemplars are shown, and in which order."""

import pytest

from rlvr.config.schema import ExemplarChoice, ExemplarOrder
from rlvr.data.choice import Chooser
from rlvr.data.prompts import Exemplar
from rlvr.errors import UserError

POOL = [
    Exemplar("How many apples are in the bowl?", "Two and two.", "4", 0.5),
    Exemplar("How many?", "1.", "1", 0.25),
    Exemplar("How fast is the old train to the north?", "60 / 2 = 30, which is all.", "30", 0.0),
    Exemplar("How old is Ann now?", "Two.", "2", 0.5),
]


def numbers(question="How?", count=4, step=0, **how):
    values = {"choice": ExemplarChoice.first, "order": ExemplarOrder.chosen, **how}
    return [POOL.index(shown) for shown in Chooser(POOL, **values)(question, count, step)]


def test_by_default_the_first_in_the_order_of_the_file():
    assert numbers(count=3) == [0, 1, 2]
    assert numbers(count=0) == []


def test_by_length():
    assert numbers(choice=ExemplarChoice.shortest) == [1, 3, 0, 2]
    assert numbers(choice=ExemplarChoice.longest, count=2) == [2, 0]


def test_by_difficulty():
    assert numbers(choice=ExemplarChoice.easiest) == [0, 3, 1, 2]
    assert numbers(choice=ExemplarChoice.hardest) == [2, 1, 0, 3]


def test_difficulty_is_that_of_every_exemplar():
    unmeasured = [*POOL, Exemplar("Why?", "No.", "3")]
    assert Chooser(unmeasured, ExemplarChoice.random)("How?", 5)
    with pytest.raises(UserError, match=r"exemplar_choice=hardest: 1 of 5 .*'Why\?'"):
        Chooser(unmeasured, ExemplarChoice.hardest)


def test_a_seed_draws_the_same_set_at_all_steps_another_seed_another_one():
    drawn = [numbers(choice=ExemplarChoice.random, seed=seed) for seed in range(6)]
    assert drawn[1] == numbers(choice=ExemplarChoice.random, seed=1, step=7)
    assert len({*map(tuple, drawn)}) > 3


def test_rotating_sets_differ_from_step_to_step_and_come_again():
    steps = [numbers(choice=ExemplarChoice.rotating, count=2, step=step) for step in range(8)]
    assert len({*map(tuple, steps)}) > 3
    assert steps == [numbers(choice=ExemplarChoice.rotating, count=2, step=s) for s in range(8)]


def test_the_most_similar_come_first_and_never_the_question_itself():
    asked = "How fast is the new train?"
    assert numbers(asked, choice=ExemplarChoice.similar, count=1) == [2]
    assert numbers(POOL[2].question.upper(), choice=ExemplarChoice.similar) == [3, 0, 1]


def test_orders():
    assert numbers(count=3, order=ExemplarOrder.reversed) == [2, 1, 0]
    shuffled = [numbers(order=ExemplarOrder.shuffled, seed=seed) for seed in range(6)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in shuffled)
    assert len({*map(tuple, shuffled)}) > 2


@pytest.mark.parametrize("choice", ExemplarChoice)
def test_fewer_are_among_more(choice):
    """So that an exemplar that goes is the only thing that changes in the prompt."""
    asked = {count: numbers(count=count, choice=choice, step=5) for count in range(5)}
    for count in range(4):
        assert asked[count] == asked[count + 1][:count]


def test_what_takes_most_room():
    assert Chooser(POOL).longest(2) == POOL[:2]
    for choice in (ExemplarChoice.rotating, ExemplarChoice.similar):
        assert Chooser(POOL, choice).longest(2) == [POOL[2], POOL[0]]

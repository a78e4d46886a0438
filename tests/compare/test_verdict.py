"""Sentences about hand-made sweeps. Numbers in them are computed by hand or by statsmodels."""

import json

import pytest
from statsmodels.stats.contingency_tables import mcnemar

from rlvr.compare.comparison import read_sweep
from rlvr.compare.verdict import told, verdict
from rlvr.evaluation.statistics import detectable_difference


def sweep(make_sweep, answer, right: dict[str, range], n: int = 100, base: int = 30):
    """Runs by their overrides, with the questions that each has right after training."""
    jobs = [
        (o, {"base": base / n, "trained": len(found) / n, "n": n, "p": 1e-9})
        for o, found in right.items()
    ]
    directory = make_sweep(jobs)
    for place, found in enumerate(right.values()):
        answer(directory / str(place), "base", [i < base for i in range(n)])
        answer(directory / str(place), "trained", [i in found for i in range(n)])
    return read_sweep(directory)


def test_a_winner_that_cannot_be_told_from_the_next(make_sweep, answer):
    right = {"shots=0": range(50), "shots=2": range(10, 62), "shots=4": range(20)}
    lines = verdict(sweep(make_sweep, answer, right)).splitlines()
    assert lines[0].startswith(
        "Best is run 1 (shots=2): 52.0 % of the answers are right after training, +22.0 points "
        "(95 % interval +"
    )
    assert lines[0].endswith("on the base model; n = 100 questions, one seed.")
    assert lines[1] == "The gain is more than chance: p < 0.001, corrected for 3 recipes (Holm)."
    assert lines[2].startswith(
        "It cannot be told from the next best, run 0 (shots=0): +2.0 points (95 % interval -"
    )
    assert lines[2].endswith("p = 1.00.")
    smallest = 100 * detectable_difference(100, 0.22)  # 10 and 12 questions are right in one alone
    assert lines[-1] == (
        f"A true difference of {smallest:.1f} points between two would be shown by 4 of 5 such "
        "comparisons on 100 questions (p < 0.05, uncorrected)."
    )
    assert "Nor" not in "".join(lines)  # 20 of 100 is told apart


def test_a_winner_that_can(make_sweep, answer):
    """20 questions gained and none lost: p = 2 * 2**-20, times three pairs."""
    right = {"shots=0": range(70), "shots=2": range(50), "shots=4": range(48)}
    comparison = sweep(make_sweep, answer, right)
    assert [r.recipe.index for r in comparison.rivals] == [1, 2]
    assert comparison.rivals[0].p_value == pytest.approx(2 * 2**-20 * 2)
    assert comparison.rivals[1].p_value == pytest.approx(2 * 2**-22 * 3)
    text = verdict(comparison)
    assert "It is better than the next best, run 1 (shots=2): +20.0 points" in text
    assert "cannot" not in text


def test_others_that_cannot_be_told_are_listed(make_sweep, answer):
    right = {f"shots={n}": range(50 - n) for n in range(12)}
    lines = verdict(sweep(make_sweep, answer, right)).splitlines()
    assert "Nor can it be told from runs 2; 3; 4; 5; 6; 7; 8; 9 and 2 more." in lines


def test_the_family_is_every_pair_since_the_best_was_chosen(make_sweep, answer):
    """9 gained, 1 lost: p = 0.02 alone, and times the 6 pairs of 4 runs no longer below 5 %."""
    right = {
        "shots=0": range(1, 60),
        "shots=1": [0, *range(10, 60)],
        "shots=2": range(30),
        "shots=3": range(20),
    }
    comparison = sweep(make_sweep, answer, right)
    alone = mcnemar([[0, 1], [9, 0]], exact=True).pvalue
    following = comparison.rivals[0]
    assert following.difference.p_value == pytest.approx(alone)
    assert following.p_value == pytest.approx(alone * 4)  # after the two smaller ones of six
    assert not following.told_apart


def test_a_gain_that_may_be_chance_and_a_loss(make_sweep):
    jobs = [("shots=2", {"p": 0.04, "trained": 0.6}), ("shots=8", {"p": 0.9, "trained": 0.3})]
    text = verdict(read_sweep(make_sweep(jobs)))
    assert (
        "It cannot be told from the base model: p = 0.080, corrected for 2 recipes (Holm)." in text
    )
    lost = make_sweep([("shots=2", {"p": 0.001, "trained": 0.1})], name="lost")
    assert "The loss is more than chance: p = 0.001." in verdict(read_sweep(lost))


def test_missing_answers_leave_the_question_open(make_sweep):
    jobs = [("shots=2", {"trained": 0.6}), ("shots=8", {"trained": 0.3})]
    assert "Whether it can be told from the others is not known" in verdict(
        read_sweep(make_sweep(jobs))
    )


def test_a_gain_of_the_format_alone_is_exposed(make_sweep):
    directory = make_sweep([("shots=2", {"base": 0.4, "trained": 0.8})])
    file = directory / "0" / "result.json"
    result = json.loads(file.read_text())
    result["base"] |= {"format_rate": 0.5, "well_formed_accuracy": 0.8}
    result["trained"] |= {"format_rate": 1.0, "well_formed_accuracy": 0.8}
    file.write_text(json.dumps(result))
    assert (
        "Well-formed answers went from 50.0 to 100.0 %; of these 80.0 % were right before and "
        "80.0 % after."
    ) in verdict(read_sweep(directory)).splitlines()


def test_several_seeds_are_said_with_their_range(make_sweep, answer):
    right = {f"shots=4 seed={s}": range(50 + s) for s in (1, 2, 3)}
    text = verdict(sweep(make_sweep, answer, right))
    assert text.startswith("Runs 0-2: 52.0 % of the answers")
    assert "3 seeds from 51.0 to 53.0 %" in text


def test_too_few_questions_show_nothing(make_sweep, answer):
    right = {"shots=0": range(2), "shots=2": range(3)}
    text = verdict(sweep(make_sweep, answer, right, n=4, base=1))
    assert "4 questions are too few to show any difference." in text


@pytest.mark.parametrize("state", ["pending", "failed", "running"])
def test_nothing_to_judge(make_sweep, state):
    comparison = read_sweep(make_sweep([("shots=2", {"state": state, "base": None})]))
    assert verdict(comparison).startswith("No run has finished yet")


def test_p_values_in_sentences():
    assert (told(0.0001), told(0.034), told(0.5)) == ("p < 0.001", "p = 0.034", "p = 0.50")

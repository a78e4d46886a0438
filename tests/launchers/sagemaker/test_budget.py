"""What a sweep has cost, may cost, and must not cost."""

import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import budget
from rlvr.result import Result
from rlvr.states import State


def test_all_attempts_count(submission, training):
    done, runs, waits = (submission(i).job for i in range(3))
    done.state, done.spent, done.remote = State.finished, 1.0, training(cost=2.0, most=9.0).entry()
    runs.state, runs.remote = State.running, training(cost=0.1, most=9.0).entry()
    waits.spent = 0.5
    assert budget.spent([done, runs, waits]) == 1 + 2 + 9 + 0.5, "what runs may come to its most"


def test_the_most_is_that_of_all_or_unknown(submission):
    one = submission(0, instance_type="ml.g6.xlarge", max_runtime=3600 - 120)
    assert budget.most([one, one]) == pytest.approx(2 * 1.127)
    assert budget.most([one, submission(1, instance_type="ml.unheard.of")]) is None


def test_a_limit_is_kept_before_and_while_running(submission):
    one = submission(0, instance_type="ml.g6.xlarge", max_runtime=3600 - 120, max_cost=2)
    budget.refuse([one], already=0.8)
    assert budget.allows(one, 0.8)
    assert not budget.allows(one, 0.9)
    with pytest.raises(UserError, match=r"may cost \$2\.25, more than launcher\.max_cost=2"):
        budget.refuse([one, one], already=0.0)
    with pytest.raises(UserError, match=r"may cost \$2\.03"):
        budget.refuse([one], already=0.9)
    free = submission(1)
    budget.refuse([free], already=1e9)
    assert budget.allows(free, 1e9)


def test_a_point_gained_has_its_price(submission, training):
    good, bad = submission(0).job, submission(1).job
    for job in (good, bad):
        job.state, job.spent, job.remote = State.finished, 1.0, training(cost=2.0).entry()
    results = {
        0: Result(base={"accuracy": 0.5}, trained={"accuracy": 0.56}),
        1: Result(base={"accuracy": 0.5}, trained={"accuracy": 0.4}),
    }
    assert budget.summary([good, bad], lambda job: results[job.index]).splitlines() == [
        "cost: $6.00 for all attempts of 2 jobs",
        "  #0 shots=0: $3.00, $0.50 a point gained",
    ]


def test_what_is_not_known_is_said(submission, training):
    runs, odd = submission(0).job, submission(1).job
    runs.state, runs.remote = State.running, training(most=9.0).entry()
    odd.state, odd.remote = State.failed, training(cost=None).entry()
    told = budget.summary([runs, odd], lambda job: None)
    assert told == (
        "cost: at most $9.00 for all attempts of 2 jobs, without 1 whose price is not known"
    )


def test_prices_of_another_region_are_not_guessed(submission):
    """Those that come with rlvr are of us-east-1; elsewhere it may cost more."""
    there = submission(0, region="eu-west-1", max_cost=1000)
    assert there.highest_cost is None
    unknown = r"the price of ml\.g6\.2xlarge in eu-west-1 is not known; .* --refresh --region"
    with pytest.raises(UserError, match=rf"launcher\.max_cost=1000: {unknown}"):
        budget.refuse([there], already=0.0)
    fallback = submission(1, regions=["eu-west-1"], max_cost=1000)
    assert fallback.highest_cost is None, "it may come to run there"
    with pytest.raises(UserError, match=unknown):
        budget.refuse([fallback], already=0.0)
    free = submission(2, region="eu-west-1")
    budget.refuse([free], already=0.0)
    told = budget.announce([free], already=0.0)
    assert "1 jobs on ml.g6.2xlarge; the price of ml.g6.2xlarge in eu-west-1 is not known" in told


def test_what_the_sweep_may_cost_and_by_which_prices(submission):
    told = budget.announce([submission(0), submission(1)], already=0.5)
    assert told.startswith("2 jobs on ml.g6.2xlarge; at most $12.30, after $0.50 so far, if all")
    assert "prices of 2025 (from memory, never checked) in us-east-1" in told


def test_a_job_whose_price_is_not_known_is_never_allowed_by_a_limit(submission):
    """A resumed sweep may have come to an instance type that no table has."""
    odd = submission(instance_type="ml.unheard.of", max_cost=1000)
    assert not budget.allows(odd, already=1.0)
    with pytest.raises(UserError, match=r"the price of ml\.unheard\.of in us-east-1"):
        budget.refuse_unpriced([odd])

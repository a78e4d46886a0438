"""Which questions a step is trained on, with rewards that are forced."""

import copy
from itertools import combinations
from statistics import pvariance
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from trl import GRPOConfig

from rlvr.errors import UserError
from rlvr.rewards.reward import Reward
from rlvr.sampling.stop import StopRule
from rlvr.training.selection import Selection, most_varied, varies
from rlvr.training.shared_prefix.update import Sharing
from rlvr.training.trainer import Trainer
from rlvr.verify.numeric import NumericVerifier

GROUP = 4
QUESTIONS = [f"{n} + {n}?" for n in range(8)]


class Forced:
    """Pays every other completion, of `flat` questions all of them, and logs what it paid for."""

    def __init__(self, flat=()):
        self.flat, self.asked = flat, []

    def __call__(self, prompts, completions, question, log_extra, **_):
        self.asked += question[::GROUP]
        log_extra("paid_for", question)
        return [1.0 if q in self.flat else float(i % 2) for i, q in enumerate(question)]


@pytest.fixture
def train(random_model, tokenizer, tmp_path):
    def trained(selection, flat=(), questions=QUESTIONS, steps=4):
        args = GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=2 * GROUP,
            num_generations=GROUP,
            max_completion_length=6,
            max_steps=steps,
            learning_rate=1e-3,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            logging_steps=1,
        )
        forced = Forced(flat)
        rows = {"prompt": [f"Question: {q}" for q in questions], "question": questions}
        trainer = Trainer(
            model=copy.deepcopy(random_model),
            tokenizer=tokenizer,
            args=args,
            rewards=[Reward("forced", forced, 1.0, {})],
            verifier=NumericVerifier(),
            stop=StopRule(),
            train_dataset=Dataset.from_dict({**rows, "gold": ["1"] * len(questions)}),
            sharing=Sharing("off", False, False),
            prefix_cache=False,
            selection=selection,
        )
        trainer.train()
        logs = [entry for entry in trainer.state.log_history if "reward" in entry]
        return SimpleNamespace(trainer=trainer, asked=forced.asked, logs=logs)

    return trained


def numbers(logs):
    times = ("perf/", "step_time", "extra_rollouts", "skipped_questions", "runtime")
    return [{k: v for k, v in entry.items() if not k.startswith(times)} for entry in logs]


def test_where_every_group_has_variance_nothing_changes(train):
    stock, dynamic = train(Selection()), train(Selection(rounds=3, revisit=0.5))
    assert numbers(dynamic.logs) == numbers(stock.logs)
    for ours, theirs in zip(
        dynamic.trainer.model.parameters(), stock.trainer.model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert {entry["extra_rollouts"] for entry in dynamic.logs} == {0}
    assert dynamic.asked == stock.asked


def test_groups_without_variance_are_replaced_and_what_that_took_is_logged(train):
    flat = QUESTIONS[:4]
    stock, dynamic = train(Selection(), flat), train(Selection(rounds=8, seed=1), flat)
    assert max(entry["frac_reward_zero_std"] for entry in stock.logs) == 1
    assert {entry["frac_reward_zero_std"] for entry in dynamic.logs} == {0}
    assert {entry["reward"] for entry in dynamic.logs} == {0.5}
    extra = [int(entry["extra_rollouts"]) for entry in dynamic.logs]
    assert sum(extra) == GROUP * (len(dynamic.asked) - 2 * len(dynamic.logs)) > 0
    per_step, start = [2 + more // GROUP for more in extra], 0
    for count in per_step:
        step = dynamic.asked[start : start + count]
        assert len(set(step)) == count, "no question twice in a step"
        assert step[-1] not in flat or count == 2, "it ends as soon as the batch is full"
        start += count


def test_what_rewards_log_stays_with_its_completion(train):
    dynamic = train(Selection(rounds=8), QUESTIONS[:4])
    logs = dynamic.trainer._logs
    assert len(logs["extra"]["paid_for"]) == 2 * GROUP
    for prompt, question in zip(logs["prompt"], logs["extra"]["paid_for"], strict=True):
        assert prompt == f"Question: {question}"
        assert question not in QUESTIONS[:4]


def test_without_any_variance_it_ends_after_so_many_rounds(train):
    dynamic = train(Selection(rounds=2), QUESTIONS, steps=2)
    assert [entry["extra_rollouts"] for entry in dynamic.logs] == [4 * GROUP] * 2
    assert {entry["frac_reward_zero_std"] for entry in dynamic.logs} == {1}
    all_of_them = train(Selection(rounds=99), QUESTIONS, steps=1)
    assert sorted(all_of_them.asked) == QUESTIONS, "each once, and no more than there are"


def test_what_had_no_variance_is_not_asked_again(train):
    """Eight questions, four of them flat, in three epochs of four steps."""
    flat = QUESTIONS[:4]
    greso = train(Selection(revisit=1e-9), flat, steps=12)
    assert sorted(greso.asked[:8]) == QUESTIONS, "the first epoch asks all of them"
    assert not set(greso.asked[8:]) & set(flat)
    skipped = [entry["skipped_questions"] for entry in greso.logs]
    assert skipped[:4] == [0] * 4
    assert sum(skipped[4:]) == 8
    assert greso.trainer.selection.flat == {q: int(q in flat) for q in QUESTIONS}


def test_some_of_them_are_asked_again_less_and_less(train):
    flat = QUESTIONS[:4]
    greso = train(Selection(revisit=0.5, seed=4), flat, steps=40)
    again = [q for q in greso.asked[8:] if q in flat]
    assert 0 < len(again) < 20
    assert len(greso.asked) == 80, "others come in their place"


def test_where_all_are_flat_they_are_asked_all_the_same(train):
    greso = train(Selection(revisit=1e-9), QUESTIONS, steps=8)
    assert len(greso.asked) == 16


class Rare:
    """Pays one of six completions of a question."""

    def __call__(self, prompts, completions, question, log_extra, **_):
        log_extra("paid_for", question)
        return [float(i % 6 == 5) for i in range(len(question))]


def test_of_more_completions_those_that_are_paid_most_differently_are_kept(train, monkeypatch):
    monkeypatch.setattr(Forced, "__call__", Rare.__call__)
    stock, pods = train(Selection(), steps=2), train(Selection(downsample_from=6), steps=2)
    assert [entry["extra_rollouts"] for entry in pods.logs] == [2 * 2] * 2
    assert list(stock.trainer._logs["rewards"]["forced"]) == [0, 0, 0, 0, 0, 1, 0, 0]
    logs = pods.trainer._logs
    assert list(logs["rewards"]["forced"]) == [0, 0, 0, 1, 0, 0, 0, 0], "three of the other five"
    for prompt, question in zip(logs["prompt"], logs["extra"]["paid_for"], strict=True):
        assert prompt == f"Question: {question}"


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5]), min_size=3, max_size=9), st.data())
def test_no_other_subset_varies_more(rewards, data):
    keep = data.draw(st.integers(2, len(rewards)))
    kept = most_varied(rewards, keep)
    assert kept == sorted(set(kept))
    assert len(kept) == keep
    best = max(pvariance(subset) for subset in combinations(rewards, keep))
    assert pvariance([rewards[i] for i in kept]) == pytest.approx(best)


def test_what_could_not_be_judged_is_kept_last():
    nan = float("nan")
    assert most_varied([nan, 1.0, nan, 0.0, 1.0], 3) == [1, 3, 4]
    assert most_varied([nan, 1.0, nan, 0.0], 3) == [0, 1, 3]
    assert most_varied([nan, nan, nan], 2) == [0, 1]


def test_variance_is_that_of_the_weighted_total_and_of_what_could_be_judged():
    nan = float("nan")
    trainer = SimpleNamespace(reward_weights=torch.tensor([1.0, 0.5]), num_generations=2)
    groups = [
        *([1.0, 0.0], [0.5, 1.0]),  # 1 and 1
        *([1.0, 0.0], [0.5, 0.0]),
        *([nan, nan], [1.0, 1.0]),  # one could not be judged
        *([nan, nan], [nan, nan]),
        *([nan, 1.0], [1.0, 1.0]),
    ]
    assert varies(trainer, torch.tensor(groups)) == [False, True, False, False, True]


def test_several_processes_are_refused():
    Selection().refuse_several(2)
    for selection in (Selection(rounds=1), Selection(revisit=0.9), Selection(downsample_from=8)):
        selection.refuse_several(1)
        with pytest.raises(UserError, match=r"this run has 2: set trainer\.num_processes=1"):
            selection.refuse_several(2)

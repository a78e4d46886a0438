"""What training asks at each step, by a reference list; test_resumable.py kills a schedule."""

from types import SimpleNamespace

from accelerate import Accelerator
from datasets import Dataset
from trl import GRPOConfig

from rlvr.config.schema import ExemplarChoice, Schedule
from rlvr.data.choice import Chooser
from rlvr.data.prompts import Exemplar, PromptTemplate
from rlvr.data.rollout_prompts import RolloutPrompts
from rlvr.data.schedule import ShotSchedule
from rlvr.rewards.reward import Reward
from rlvr.sampling.stop import StopRule
from rlvr.training import trainer
from rlvr.training.selection import Selection
from rlvr.training.shared_prefix.update import Sharing
from rlvr.training.trainer import Trainer
from rlvr.verify.numeric import NumericVerifier

QUESTIONS = ["1 + 1?", "2 + 3?", "4 + 4?", "5 + 1?"]
POOL = [Exemplar(f"{n} + {n}?", f"It is {2 * n}.", str(2 * n)) for n in (6, 7, 8, 9)]
LINEAR = ShotSchedule(Schedule.linear, 4, 0, 1.0)
BERNOULLI = ShotSchedule(Schedule.bernoulli, 4, 0, 1.0)


def prompts_by(schedule, choice=ExemplarChoice.first):
    return RolloutPrompts(PromptTemplate(), Chooser(POOL, choice), schedule, seed=3)


def arguments(folder, steps):
    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=2,
        max_steps=steps,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def trained_prompts(random_model, tokenizer, folder, monkeypatch, prompts, steps=5):
    """The distinct prompts of each step, in the order in which they are sampled."""
    seen = []
    rollout = trainer.rollout

    def record(asked, at):
        if at.model.training:
            seen.append(list(dict.fromkeys(asked)))
        return rollout(asked, at)

    monkeypatch.setattr(trainer, "rollout", record)
    rows = {"prompt": [prompts.asked(q, prompts.schedule.start) for q in QUESTIONS]}
    rows |= {"question": QUESTIONS, "gold": ["2", "5", "8", "6"]}
    Trainer(
        model=random_model,
        tokenizer=tokenizer,
        args=arguments(folder, steps),
        rewards=[Reward("length", lambda completions, **_: [*map(len, completions)], 1.0, {})],
        verifier=NumericVerifier(),
        stop=StopRule(),
        train_dataset=Dataset.from_dict(rows),
        sharing=Sharing("off", False, False),
        prefix_cache=False,
        selection=Selection(prompts),
    ).train()
    return seen


def written(question, *shown):
    """As docs/configuration.md shows a prompt."""
    solved = [f"Question: {n} + {n}?\nSolution: Let's think step by step. It is {2 * n}.\n"
              f"#### The final answer is {2 * n}\n\n" for n in shown]  # fmt: skip
    return "".join(solved) + f"Question: {question}\nSolution: Let's think step by step."


def test_prompts_at_each_step_equal_a_reference_list(
    random_model, tokenizer, tmp_path, monkeypatch
):
    """Two questions a step: four exemplars, in stages of a fifth less than none at the end."""
    seen = trained_prompts(
        random_model, tokenizer, tmp_path, monkeypatch, prompts_by(LINEAR), steps=4
    )
    shown = [(6, 7, 8, 9), (6, 7, 8), (6, 7), (6,)]
    assert [len(step) for step in seen] == [2, 2, 2, 2]
    for step, exemplars in zip(seen, shown, strict=True):
        assert set(step) <= {written(question, *exemplars) for question in QUESTIONS}


def test_by_chance_some_questions_of_a_step_have_exemplars_and_the_share_falls(
    random_model, tokenizer, tmp_path, monkeypatch
):
    seen = trained_prompts(
        random_model, tokenizer, tmp_path, monkeypatch, prompts_by(BERNOULLI), steps=20
    )
    kinds = [{written(q, 6, 7, 8, 9) for q in QUESTIONS}, {written(q) for q in QUESTIONS}]
    with_exemplars = [sum(prompt in kinds[0] for prompt in step) for step in seen]
    assert all(prompt in kinds[0] | kinds[1] for step in seen for prompt in step)
    assert with_exemplars[0] == 2, "the probability begins at 1"
    assert sum(with_exemplars[:10]) > sum(with_exemplars[10:])
    assert 1 in with_exemplars, "questions of a step have chances of their own"


def test_rotating_sets_change_from_step_to_step(random_model, tokenizer, tmp_path, monkeypatch):
    rotating = prompts_by(ShotSchedule.constant(2), ExemplarChoice.rotating)
    seen = trained_prompts(random_model, tokenizer, tmp_path, monkeypatch, rotating)
    prefixes = [{prompt.rpartition("Question: ")[0] for prompt in step} for step in seen]
    assert all(len(step) == 1 for step in prefixes), "shared by all rows of a step"
    assert len({prefix for step in prefixes for prefix in step}) > 2


def test_a_group_has_one_prompt_however_its_rows_are_spread(monkeypatch):
    """Of 12 rows in groups of 4, six processes and one build the same prompts."""

    whole = SimpleNamespace(
        num_generations=4,
        accelerator=Accelerator(),
        state=SimpleNamespace(global_step=7, max_steps=16),
        _log_metric=lambda name, value: None,
    )
    rows = [{"prompt": "", "question": QUESTIONS[n // 4], "gold": "1"} for n in range(12)]
    prompts = prompts_by(BERNOULLI)
    alone = Selection(prompts).chosen(whole, rows)
    spread = []
    for rank in range(6):
        monkeypatch.setattr(Accelerator, "process_index", rank)
        spread += Selection(prompts).chosen(whole, rows[2 * rank : 2 * rank + 2])
    assert spread == alone
    assert len({row["prompt"] for row in alone}) == 3
    assert rows[0]["prompt"] == "", "the dataset's rows stay as they are"

"""Laws of rewards, on TRL's own totals: what the trainer learns from is what was judged, once."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig

from rlvr.rewards.build import build_rewards
from rlvr.rewards.functions import correctness_reward, format_reward
from rlvr.rewards.reward import Reward
from rlvr.safeguards.health import HealthMonitor
from rlvr.sampling.engine import Completions
from rlvr.sampling.stop import StopRule
from rlvr.training.shared_prefix.update import Sharing
from rlvr.training.trainer import Trainer
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
PROMPT = "Question: 6 + 6?\nSolution:"
RIGHT = Verdict(1.0, Reason.CORRECT, "12", format_ok=True)
WRONG = Verdict(0.0, Reason.WRONG, "13", format_ok=True)
NO_ANSWER = Verdict(0.0, Reason.NO_ANSWER)
HANGS = Verdict(None, Reason.TIMEOUT, format_ok=True)


class Scripted:
    """A verifier that gives the next verdicts of a script, and remembers what it was asked."""

    def __init__(self, script):
        self.script, self.batches = script, []

    def canonical(self, gold):
        return gold

    def verify(self, completions, golds, **columns):
        self.batches.append(list(completions))
        return [self.script[i % len(self.script)] for i in range(len(completions))]


class Recorder:
    """A user's reward that remembers the texts it was given and always pays."""

    def __init__(self):
        self.texts = []

    def __call__(self, completions, **columns):
        self.texts.append(list(completions))
        return [1.0] * len(completions)


@pytest.fixture
def trained(random_model, tokenizer, tmp_path):
    """A trainer that has made its steps, and what TRL made of the rewards in each of them."""

    def train(script, *, rewards=None, stop=None, steps=1, health=True, **options):
        weights = {"format": (format_reward, 0.5), "correctness": (correctness_reward, 1.0)}
        rewards = rewards or [Reward(n, f, w, {}) for n, (f, w) in weights.items()]
        settings = {
            **{"output_dir": str(tmp_path), "per_device_train_batch_size": len(script)},
            **{"num_generations": len(script), "max_completion_length": 8, "max_steps": steps},
            **{"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "seed": 3},
            **{"reward_weights": [r.weight for r in rewards], "report_to": "none"},
            **{"save_strategy": "no", "disable_tqdm": True, "dataloader_pin_memory": False},
        }
        trainer = Trainer(
            model=random_model,
            tokenizer=tokenizer,
            args=GRPOConfig(**{**settings, **options}),
            rewards=rewards,
            verifier=Scripted(script),
            stop=stop or StopRule(),
            train_dataset=Dataset.from_dict({"prompt": [PROMPT] * 8, "gold": ["12"] * 8}),
            sharing=Sharing(shared_prefix="off", skip_zero_advantage=False, self_check=False),
            prefix_cache=False,
            health=HealthMonitor(rewards, PREFIX, tmp_path) if health else None,
        )
        trainer.train()
        return trainer

    return train


def test_a_row_whose_verdict_failed_is_left_out_of_the_update(trained):
    """Its format alone would pay it 0.5, like the wrong one."""
    trainer = trained([HANGS, WRONG, RIGHT])
    paid = {name: list(values) for name, values in trainer._logs["rewards"].items()}
    assert torch.tensor(paid["format"]).isnan().tolist() == [True, False, False]
    assert paid["format"][1:] == [1.0, 1.0]
    assert paid["correctness"][1:] == [0.0, 1.0]
    # The baseline of [-, 0.5, 1.5] is 1.0 and its standard deviation the square root of 0.5;
    # with the failed row at 0.5 it would be 0.83.
    spread = 0.5**0.5 + 1e-4
    assert list(trainer._logs["advantages"]) == pytest.approx([0.0, -0.5 / spread, 0.5 / spread])
    logged = trainer.state.log_history[0]
    assert logged["reward"] == pytest.approx(1.0)
    assert logged["reasons/timeout"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("how", ["sum_then_normalize", "normalize_then_sum"])
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_it_is_left_out_however_rewards_are_put_together(trained, how, scale):
    own = Reward("own", Recorder(), 3.0, {})
    rewards = [Reward("correctness", correctness_reward, 1.0, {}), own]
    trainer = trained(
        [WRONG, HANGS, RIGHT, HANGS],
        rewards=rewards,
        multi_objective_aggregation=how,
        scale_rewards=scale,
    )
    wrong, first, right, second = trainer._logs["advantages"]
    assert first == second == 0.0
    assert wrong == pytest.approx(-right)
    assert right > 0


def test_a_failed_row_does_not_move_the_model(trained, random_model):
    before = [parameter.clone() for parameter in random_model.parameters()]
    trained([HANGS, HANGS, HANGS, HANGS], learning_rate=1.0)
    for parameter, old in zip(random_model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_one_verdict_serves_rewards_health_and_tables(trained):
    rewards = [
        Reward("format", format_reward, 0.5, {}),
        Reward("correctness", correctness_reward, 1.0, {}),
        Reward("own", lambda verdicts: [v.correct for v in verdicts], 1.0, {}),
    ]
    trainer = trained([RIGHT, WRONG, HANGS, NO_ANSWER], rewards=rewards, steps=2)
    assert [len(batch) for batch in trainer.verifier.batches] == [4, 4]
    table = trainer._logs["extra"]
    assert list(table["verdict"]) == ["correct", "wrong", "timeout", "no_answer"]
    assert list(table["extracted"]) == ["12", "13", None, None]
    for entry in trainer.state.log_history[:2]:
        assert entry["health/accuracy"] == 0.25
        assert entry["health/timeout"] == 0.25
        assert entry["reasons/correct"] == 0.25


def test_verifier_rewards_and_health_see_the_engines_texts(trained, monkeypatch):
    """Cut by the stop rule, which what TRL decodes from the ids is not."""
    own, batches = Recorder(), []
    sampled = [
        "6 + 6 = 12\n#### The final answer is 12",
        "13\n#### The final answer is 13",
        "",
        "x",
    ]
    beyond = "\nQuestion: and now?"

    def sample(self, model, prompt_ids, on_finished):
        tokenizer = self.processing_class
        ids = tokenizer([text + beyond for text in sampled])["input_ids"]
        return Completions(ids, [self.stop.cut(text + beyond) for text in sampled], [True] * 4)

    observe = HealthMonitor.observe
    monkeypatch.setattr(Trainer, "sample", sample)
    monkeypatch.setattr(
        HealthMonitor, "observe", lambda *args: (batches.append(args[1]), observe(*args))
    )
    trainer = trained(
        [RIGHT, WRONG, NO_ANSWER, NO_ANSWER],
        rewards=[Reward("own", own, 1.0, {})],
        stop=StopRule(("\nQuestion:",)),
    )
    assert own.texts == [sampled]
    assert trainer.verifier.batches == [sampled]
    assert [list(batch.texts) for batch in batches] == [sampled]
    assert [list(batch.raw) for batch in batches] == [[text + beyond for text in sampled]]


async def of_verdicts(verdicts):
    return np.array([verdict.correct for verdict in verdicts])


def of_messages(completions, **columns):
    return tuple(float(completion[-1]["role"] == "assistant") for completion in completions)


def test_rewards_of_every_form_train_together(trained):
    """The model is random, so what is sampled is not empty."""
    rewards = build_rewards(
        {
            "think": {"_target_": "trl.rewards.think_format_reward"},
            "long": {
                "_target_": "trl.rewards.get_soft_overlong_punishment",
                **{"max_completion_len": 4, "soft_punish_cache": 2},
            },
            "own": {"_target_": f"{__name__}.of_verdicts", "weight": 2.0},
            "chat": {"_target_": f"{__name__}.of_messages"},
        }
    )
    trainer = trained([RIGHT, WRONG, NO_ANSWER, RIGHT], rewards=rewards)
    paid = {name: list(values) for name, values in trainer._logs["rewards"].items()}
    assert paid == {
        "think": [0.0] * 4,
        "long": [-1.0] * 4,
        "own": [1.0, 0.0, 0.0, 1.0],
        "chat": [1.0] * 4,
    }


class Counting:
    def __init__(self, file):
        self.file = file
        with open(file, "a") as log:
            log.write("built\n")

    def __call__(self, verdicts):
        with open(self.file, "a") as log:
            log.write(f"called {len(verdicts)}\n")
        return [verdict.reward for verdict in verdicts]


def test_a_run_builds_its_rewards_once(compose_config, saved_model, tmp_path):
    from rlvr.run import run

    file = tmp_path / "log.txt"
    own = f"+rewards.own={{_target_: {__name__}.Counting, file: {file}}}"
    cfg = compose_config(
        *("~launcher", "experiment=debug", "tracking=none", "eval=none", own),
        *(f"model.path={saved_model}", "trainer.max_steps=2", "trainer.max_completion_length=4"),
        *("dataset.loader.train_size=60", "dataset.loader.test_size=8", "+rewards.coin._target_="
          "rlvr.rewards.controls.RandomReward"),
    )  # fmt: skip
    run(cfg, tmp_path / "run")
    lines = file.read_text().splitlines()
    assert lines.count("built") == 1
    assert lines[0] == "built"

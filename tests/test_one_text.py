"""The law of one text: whoever judges a completion sees what the engine returned, and nothing else.

Rewards, the evaluation while training, the evaluations before and after, and `rlvr evaluate` are
run for real; what the verifier is given, and what a reward is given, is recorded.
"""

from collections import defaultdict

import pytest

from rlvr.evaluation.command import evaluate_runs
from rlvr.run import run
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.shared import SharedEngine
from rlvr.verify.numeric import NumericVerifier

SMALL = [
    *("model=tiny", "dataset=word_problems", "shots=2", "tracking=none", "peft=none"),
    *("eval=sampled", "eval.n=6", "eval.k=2", "eval.batch_size=8", "trainer.max_steps=2"),
    "trainer.batch_size=8",
    *("trainer.num_generations=4", "trainer.max_completion_length=40", "trainer.eval_steps=1"),
    *("trainer.gradient_checkpointing=false", "trainer.eval_examples=8"),
]
SAMPLED, JUDGED, REWARDED = [], [], []


class Recording(NumericVerifier):
    def verify(self, completions, golds, **columns):
        verdicts = super().verify(completions, golds, **columns)
        JUDGED.extend(zip(completions, verdicts, strict=True))
        return verdicts


def recording_reward(completions, verdicts):
    REWARDED.extend(zip(completions, verdicts, strict=True))
    return [verdict.reward for verdict in verdicts]


@pytest.fixture
def recorded(monkeypatch):
    """What each engine returns, and whether its text was cut by the rule it was given."""
    for engine in (PlainEngine, SharedEngine):

        def sample(self, *asked, own=engine.sample):
            drawn, stop = own(self, *asked), asked[3]
            assert all(stop.find(text) is None for text in drawn.texts), "texts are cut"
            SAMPLED.extend(drawn.texts)
            return drawn

        monkeypatch.setattr(engine, "sample", sample)
    for records in (SAMPLED, JUDGED, REWARDED):
        records.clear()


@pytest.mark.parametrize("cache", ["true", "false"])
@pytest.mark.parametrize("stop", ["\\nQuestion:", "= "])
def test_reward_and_every_evaluation_see_one_text(compose_config, tmp_path, recorded, cache, stop):
    cfg = compose_config(
        *SMALL,
        f"trainer.prefix_cache={cache}",
        f'dataset.stop.strings=["{stop}"]',
        f"dataset.verifier._target_={__name__}.Recording",
        f"+rewards.own={{_target_: {__name__}.recording_reward}}",
        "trainer.preflight=false",
    )
    run(cfg, tmp_path)
    assert sorted(text for text, _ in JUDGED) == sorted(SAMPLED), "each once, unchanged"
    trained = 2 * 8 + 2 * 8  # two steps, and two evaluations while training
    assert len(REWARDED) == trained
    assert len(SAMPLED) == trained + 2 * 12
    evaluate_runs([tmp_path], None, None)
    assert len(SAMPLED) == trained + 2 * 12, "the run's own answers are not asked for again"
    of_the_run, again = JUDGED[-36:-24], JUDGED[-12:]  # between them, those of the base model
    assert sorted(again, key=str) == sorted(of_the_run, key=str)
    verdicts = defaultdict(set)
    for text, verdict in JUDGED + REWARDED:
        verdicts[text].add(verdict.extracted)
    assert {len(found) for found in verdicts.values()} == {1}

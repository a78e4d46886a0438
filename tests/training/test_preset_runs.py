"""`trainer=grpo,gspo,cispo,dapo,dr_grpo -m` on the embedded model: whole runs, which differ."""

import hashlib
import json
import os
from itertools import combinations

import pytest

from rlvr.run import run

SMALL = [
    *("model=tiny", "dataset=word_problems", "shots=1", "tracking=none", "peft=lora", "eval=none"),
    *("trainer.preflight=off", "trainer.health=off", "trainer.learning_rate=1e-2"),
    *("trainer.batch_size=4", "trainer.num_generations=4", "trainer.max_completion_length=8"),
    *("trainer.max_steps=17", "trainer.warmup_ratio=0", "trainer.gradient_checkpointing=false"),
    *("rewards=random", "trainer.logging_steps=1", "trainer.shared_prefix=tree"),
]
# In how many optimizer steps a generation batch is used, so when the second one is sampled.
STEPS = {"grpo": 1, "gspo": 4, "cispo": 16, "dapo": 16, "dr_grpo": 1}


@pytest.mark.slow
def test_five_presets_train_and_their_updates_differ(compose_config, tmp_path):
    """As jobs of a sweep: each in a process of its own."""
    for preset in STEPS:
        cfg = compose_config(*SMALL, f"trainer={preset}")
        process = os.fork()
        if process == 0:
            code = 1
            try:
                run(cfg, tmp_path / preset)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(process, 0)[1] == 0, preset
    weights = {preset: digest(tmp_path / preset) for preset in STEPS}
    assert all(weights[one] != weights[other] for one, other in combinations(STEPS, 2))
    for preset, steps in STEPS.items():
        lines = (tmp_path / preset / "metrics.jsonl").read_text().splitlines()
        tokens = [json.loads(line).get("perf/tokens") for line in lines][:17]
        sampled = [i + 1 for i, (a, b) in enumerate(zip([0, *tokens], tokens)) if a != b]  # noqa: B905
        assert sampled == list(range(1, 18, steps)), preset


def digest(folder):
    return hashlib.sha256((folder / "model/adapter_model.safetensors").read_bytes()).hexdigest()

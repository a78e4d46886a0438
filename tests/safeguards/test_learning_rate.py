"""The usual rate of either way is fine; that of the other is said, but for very small models."""

import pytest

from rlvr.safeguards.learning_rate import learning_rate_warning


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], None),
        (["trainer.learning_rate=1e-5"], None),
        (["trainer.learning_rate=1e-6"], "is one for full fine-tuning: with peft=qlora"),
        (["peft=lora", "trainer.learning_rate=5e-7"], "with peft=lora next to nothing"),
        (["peft=none", "trainer.learning_rate=1e-6"], None),
        (["peft=none"], "is one for adapters"),
        (["peft=none", "model=tiny", "trainer.learning_rate=2e-3"], None),
    ],
)
def test_a_rate_meant_for_the_other_way(compose_config, overrides, said):
    warning = learning_rate_warning(compose_config(*overrides))
    assert (said in warning) if said else warning is None

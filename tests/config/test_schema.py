"""The schema that conf/ is merged into."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ValidationError

from rlvr.config.schema import BadGolds, Config, DatasetConfig, load, to_yaml
from rlvr.errors import UserError


def test_a_resolved_config_comes_back_typed(compose_config, tmp_path):
    cfg = compose_config(
        "~launcher", "benchmark=[svamp,math500]", "dataset.bad_golds=drop", "shots=3"
    )
    (tmp_path / "config.yaml").write_text(to_yaml(cfg))
    again = load(tmp_path / "config.yaml")
    assert again.dataset.bad_golds is BadGolds.drop
    assert again.dataset.num_shots == again.eval.benchmarks.svamp.num_shots == 3
    assert again.eval.benchmarks.math500.num_shots == 0
    assert again.eval.max_completion_length == again.trainer.max_completion_length
    assert to_yaml(again) == to_yaml(cfg)


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("shots", "many", ValidationError),
        ("trainer.shared_prefix", "maybe", ValidationError),
        ("trainer.loss_type", "banana", ValidationError),
        ("trainer.scale_rewards", "groups", ValidationError),
        ("trainer.importance_sampling_level", "word", ValidationError),
        ("trainer.lr_scheduler_type", "cosin", ValidationError),
        ("peft.quant_type", "int8", ValidationError),
        ("eval.benchmarks.x.bad_golds", "keep", ValidationError),
        ("eval.benchmarks.x.pathh", "a", ConfigAttributeError),
    ],
)
def test_wrong_kinds_and_unknown_keys_are_refused(key, value, error):
    cfg = OmegaConf.structured(Config)
    cfg.eval.benchmarks.x = DatasetConfig(name="x")
    with pytest.raises(error):
        OmegaConf.update(cfg, key, value)


def test_a_config_of_an_older_version_says_what_to_write_instead(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("trainer: {per_device_train_batch_size: 16}\n")
    with pytest.raises(UserError, match=r"trainer\.per_device.*set trainer\.batch_size"):
        load(file)

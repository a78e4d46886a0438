"""What Hydra refuses is said in one line for each override, with what was meant."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from rlvr import config
from rlvr.config.command_line import explain, is_refusal

CONF = Path(__file__).resolve().parents[2] / "conf"
SIBLINGS = "launcher has extend, gpus_per_job, n_jobs, name, notify, resume"


def refused(*overrides, conf=CONF, config_dir=None):
    """The message for what Hydra raises; swept overrides are taken for granted as wrong."""
    config.register()
    searched = [f"hydra.searchpath=[file://{config_dir}]"] if config_dir else []
    with pytest.raises(Exception) as raised, initialize_config_dir(str(conf), version_base="1.3"):  # noqa: PT011
        compose("config", [*searched, *overrides])
    assert is_refusal(raised.value)
    return explain(raised.value, overrides, conf, config_dir)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "trainer.learning_rat=1",
            "no key trainer.learning_rat: did you mean trainer.learning_r",
        ),
        ("traner.learning_rat=1", "did you mean trainer.learning_rate?"),
        ("traner=grpo", "there is no key traner: did you mean trainer?"),
        ("shot=4", "there is no key shot: did you mean shots?"),
        ("learning_rate=3", "did you mean trainer.learning_rate?"),
        ("hydra.swep.dir=x", "did you mean hydra.sweep.dir?"),
        ("~x", "~x: there is no x to remove"),
        ("~trainer.bta", "there is no trainer.bta to remove: did you mean trainer.beta?"),
        ("model=qwen2.5", "did you mean qwen2.5_0.5b or qwen2.5_coder_7b? It has: qwen2.5_0.5b, "),
        ("experiment=quick", "experiment has no option quick: did you mean quickstart?"),
        ("hydra/launcher=rlvr_locl", "did you mean rlvr_local or"),
        ("benchmark=[svamp,mat500]", "benchmark has no option mat500: did you mean math500?"),
        ("trainer=5", "trainer has no option 5"),
        ("trainer=grpo,dapp", "trainer=grpo,dapp: trainer has no option dapp: did you mean dapo?"),
        ("launcher.xyz=3", f"there is no key launcher.xyz; {SIBLINGS}"),
        ("launcher.region=eu", "this key comes with launcher=sagemaker: add that, or remove this"),
        ("launcher.regio=eu", "did you mean launcher.region (with launcher=sagemaker)?"),
        ("dataset.loader.task=x", "this key comes with dataset=reasoning_gym"),
        ("eval.benchmarks.svamp.path=x", "this key comes with benchmark=svamp"),
        ("trainer.top_k=50", "a field of TRL's GRPOConfig; set it as +trainer.extra.top_k=50"),
        ("trainer.extra.top_k=4", "is new to the config; add it as +trainer.extra.top_k=4"),
        ("trainer.extra.top_j=4", "trainer.extra.top_j is not a field of TRL's GRPOConfig: did"),
        ("dataset.loader.subst=x", "subst is not a parameter of rlvr.data.sources.gsm8k.load: did"),
        ("rewards.b._target_=rlvr.rewards.functions.format_rewrd", "did you mean format_reward or"),
        ("dataset.verifier.answer_prefix=x", "add it as +dataset.verifier.answer_prefix=x"),
        ("shots=banana", "shots=banana: Value 'banana' of type 'str' could not be converted to I"),
        ("peft.method=qlor", "peft.method=qlor: Invalid value 'qlor', expected one of [none, "),
        ("shots", "shots: expected KEY=VALUE"),
    ],
)
def test_a_mistake_says_what_was_meant(override, message):
    said = refused(override)
    assert message in said
    assert len(said.splitlines()) == 1
    assert "To append" not in said


def test_every_mistake_is_named_at_once():
    said = refused("shot=2", "modell=tiny", "trainer.beta=0.1", "peft=lorra").splitlines()
    assert [line.partition(":")[0] for line in said] == ["peft=lorra", "shot=2", "modell=tiny"]


def test_each_value_of_a_sweep_is_looked_at():
    assert refused("shots=2,banana", "trainer.learning_rte=1,2").splitlines() == [
        "shots=banana: Value 'banana' of type 'str' could not be converted to Integer",
        "trainer.learning_rte=1,2: there is no key trainer.learning_rte: did you mean "
        "trainer.learning_rate?",
    ]


def test_options_of_ones_own_are_known(tmp_path):
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards/brief.yaml").write_text("brevity:\n  limit: 3\n")
    assert "did you mean brief?" in refused("rewards=brif", config_dir=tmp_path)
    said = refused("rewards.brevity.limit=4", config_dir=tmp_path)
    assert "comes with rewards=brief" in said


def test_what_is_wrong_in_a_yaml_file_is_said_as_hydra_does(tmp_path):
    import shutil

    conf = shutil.copytree(CONF, tmp_path / "conf")
    (conf / "trainer/grpo.yaml").write_text("learnin_rate: 3\n")
    said = refused("shots=4", conf=conf)
    assert said.splitlines()[0].startswith("In 'trainer/grpo'")
    assert "Key 'learnin_rate' not in 'TrainerConfig'" in said
    assert "full_key" not in said

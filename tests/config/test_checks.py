"""Every option of `conf/` composes and validates; every mistake gets one message that mends it."""

import importlib.util
from pathlib import Path

import pytest
from omegaconf import OmegaConf, open_dict

from rlvr import config
from rlvr.config.checks import grpo_config_fields
from rlvr.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"
OPTIONS = sorted(
    f"{file.parent.relative_to(CONF)}={file.stem}"
    for file in CONF.glob("*/*.yaml")
    if file.parent.name != "local"
)
NEEDED = {
    "dataset=jsonl": ["dataset.path=.", "shots=0"],
    "dataset=reasoning_gym": ["dataset.loader.task=chain_sum"],
    "experiment=reference_post": ["dataset.exemplars=package:gsm8k"],
    "benchmark=jsonl": ["eval.benchmarks.jsonl.path=."],
}


def problems(cfg):
    with pytest.raises(UserError) as error:
        config.validate(cfg)
    return str(error.value)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_validates(compose_config, option):
    if option in ("tracking=trackio", "tracking=wandb"):
        package = option.partition("=")[2]
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is an extra that is not installed")
    cfg = compose_config(option, *NEEDED.get(option, []))
    config.validate(cfg)


def test_own_questions_need_a_file_and_exemplars_of_their_own(compose_config):
    shown = problems(compose_config("dataset=jsonl", "benchmark=jsonl", "shots=2"))
    assert "shots=2: dataset has no exemplars" in shown
    assert " dataset.path is not set: name a JSONL file" in shown
    assert " eval.benchmarks.jsonl.path is not set" in shown


@pytest.mark.parametrize("name", ["a/b", "..", " ", "last", "/x"])
def test_a_run_has_a_plain_name(compose_config, name):
    assert "must be the name of a directory" in problems(compose_config(f"run='{name}'"))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_says_how_to_use_it(option):
    lines = (CONF / (option.replace("=", "/") + ".yaml")).read_text().splitlines()
    assert any("python train.py" in line and line.startswith("#") for line in lines[:4])


def test_the_default_is_the_reference_recipe(compose_config):
    cfg = compose_config()
    t = cfg.trainer
    assert (cfg.model.path, cfg.shots, cfg.dataset.num_shots) == ("Qwen/Qwen2.5-0.5B", 8, 8)
    assert (cfg.rewards.format.weight, cfg.rewards.correctness.weight) == (0.5, 1.0)
    assert (cfg.peft.method.value, cfg.peft.r, cfg.peft.alpha) == ("qlora", 16, 16)
    assert cfg.peft.target_modules == "all-linear"
    assert (t.learning_rate, t.lr_scheduler_type, t.warmup_ratio) == (1.84e-4, "cosine", 0.1)
    assert (t.num_train_epochs, t.batch_size, t.num_generations) == (2, 32, 8)
    assert cfg.dataset.validation_fraction == 0.1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tracking.uri", "https://user:canary@host/mlflow"),
        ("model.path", "https://x:canary@host/model"),
        ("tracking.uri", "http://host/?key=hf_canary" + "a" * 30),
    ],
)
def test_what_is_recorded_holds_no_secret(compose_config, key, value):
    message = problems(compose_config(f"{key}='{value}'"))
    assert f"{key} holds a password or token" in message
    assert "MLFLOW_TRACKING_PASSWORD" in message
    assert "canary" not in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("shots=-1", "shots=-1: must be 0 or more"),
        ("shots=9", "has 8 exemplars; use shots=0 to shots=8"),
        ("shots_end=-1", "shots_end=-1: must be 0 or more"),
        ("shots_until=0", "shots_until=0.0: must be above 0 and at most 1"),
        ("shots_probability=1.5", "shots_probability=1.5: must be above 0 and at most 1"),
        ("+trainer.learnin_rate=3", "trainer.learnin_rate is not a known key: did you mean learn"),
        ("+shot=3", "shot is not a known key: did you mean shots"),
        (
            "trainer.num_generations=7",
            "use a batch_size of 28 or 35, or num_generations 4 or 8",
        ),
        ("+trainer.gradient_accumulation_steps=2", "set trainer.batch_size=N, the completions of"),
        ("+trainer.extra.per_device_train_batch_size=2", "set trainer.batch_size=N"),
        ("+trainer.extra.steps_per_generation=8", "set trainer.optimizer_steps_per_generation=N"),
        ("trainer.num_generations=1", "at least 2 (a group of one has no advantage)"),
        ("trainer.temperature=0", "above 0 (training must sample)"),
        ("+trainer.extra.top_j=3", "top_j is not a field of TRL's GRPOConfig: did you mean top_"),
        ("+trainer.extra.beta=3", "trainer.extra.beta: this one is set by trainer.beta"),
        ("eval.k=4", "eval.k=4 greedy samples would all be the same"),
        ("dataset.path=/no/such", "dataset.path=/no/such: no such file or directory"),
        ("dataset.exemplars=/no/such.jsonl", "there is no file /no/such.jsonl"),
        ("model.path=./no-such", "model.path=./no-such: no such directory"),
        ("model.path=package:tny", "no embedded model: did you mean package:tiny?"),
        ("model.path=/usr", "there is no config.json in this directory"),
        ("tracking.uri=htp://host:5000", "tracking.uri=htp://host:5000: expected sqlite:///FILE"),
        ("+trainer.top_k=3", "a field of TRL's GRPOConfig, so write +trainer.extra.top_k=VALUE"),
        ("model.path=???", "model.path is not set: add model.path=VALUE"),
        ("model.attn_implementation=flash_attention_2", "attn_implementation=auto"),
        ("rewards.format._target_=rlvr.nothing.Here", "rewards.format._target_=rlvr.nothing.Here"),
        (
            "rewards.format._target_=rlvr.rewards.functions.formt_reward",
            "rlvr.rewards.functions has no 'formt_reward': did you mean format_reward",
        ),
        ("+rewards.correctness.wieght=3", "rewards.correctness.wieght is not a parameter"),
        ("+dataset.loader.subsett=x", "dataset.loader.subsett is not a parameter"),
        ("dataset.train_order=hard_first", "dataset.train_order=hard_first needs dataset.pass_r"),
        ("dataset.exemplars=null", "shots=8: dataset has no exemplars. Use shots=0, or"),
        ("+dataset.verifier.answer_prefx=x", "did you mean answer_prefix? It takes: answer_prefix"),
        ("output_dir=/proc/version", "/proc/version is a file, not a directory"),
    ],
)
def test_a_mistake_is_named_with_its_mend(compose_config, override, expected):
    assert expected in problems(compose_config(override))


def test_all_problems_are_listed_at_once(compose_config):
    text = problems(compose_config("shots=-1", "trainer.num_generations=7", "eval.batch_size=0"))
    assert len(text.splitlines()) == 4


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_says_how_to_get_it(compose_config, monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda asked: None if asked == name else True)
    text = problems(compose_config(f"tracking={name}"))
    assert f"tracking={name}: {name} is not installed; run pip install 'rlvr[{name}]'" in text


def test_what_a_mac_lacks_is_no_matter_to_jobs_on_sagemaker(compose_config, monkeypatch):
    lacking = ("bitsandbytes", "deepspeed", "flash_attn")
    known = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda asked: None if asked in lacking else known(asked)
    )
    overrides = ("peft=qlora", "model.attn_implementation=flash_attention_2")
    assert "peft=qlora needs bitsandbytes" in problems(compose_config(*overrides))
    cfg = compose_config(*overrides)
    with open_dict(cfg):
        cfg.launcher.name = "sagemaker"
    config.validate(cfg)


def test_jobs_on_sagemaker_report_to_mlflow_alone(compose_config):
    cfg = compose_config("tracking=tensorboard")
    with open_dict(cfg):
        cfg.launcher.name = "sagemaker"
    assert "jobs on SageMaker report to MLflow alone" in problems(cfg)


def test_field_names_read_from_source_are_grpo_configs_own():
    import dataclasses

    from trl import GRPOConfig

    names = {f.name for f in dataclasses.fields(GRPOConfig) if f.init}
    assert names <= grpo_config_fields()


def test_a_resolved_config_loads_back_the_same(compose_config, tmp_path):
    cfg = compose_config("shots=3", "trainer.learning_rate=1e-5")
    (tmp_path / "config.yaml").write_text(config.to_yaml(cfg))
    again = config.load(tmp_path / "config.yaml")
    assert OmegaConf.to_container(again) == OmegaConf.to_container(cfg, resolve=True)
    assert again.dataset.num_shots == 3
    config.validate(again)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.distributed=fsdp2", "peft=qlora"], "use peft=lora"),
        (["+trainer.extra.save_only_model=true"], "rlvr's own affair (trainer.save_minutes)"),
        (["+trainer.extra.output_dir=x"], "trainer.extra.output_dir"),
        (["trainer.save_minutes=0"], "trainer.save_minutes=0.0: must be null or above 0"),
    ],
)
def test_what_exact_resume_and_sharding_rest_on(compose_config, overrides, said):
    assert said in problems(compose_config(*overrides))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["shots_end=8"], "from shots=8 to shots_end=8 changes nothing: set shots, or use"),
        (["shots_end=9"], "has 8 exemplars; use shots=0 to shots=8"),
        (["dataset.num_shots=4"], "dataset.num_shots=4 is not shots=8, where shots_schedule="),
    ],
)
def test_a_schedule_that_cannot_be_is_named(compose_config, overrides, expected):
    assert expected in problems(compose_config("shots_schedule=linear", *overrides))
    assert len(problems(compose_config("shots_schedule=linear", *overrides)).splitlines()) == 2


def test_pass_rates_stay_on_this_machine(compose_config, tmp_path):
    (tmp_path / "base.jsonl").write_text("")
    given = ["dataset.train_order=easy_first", f"dataset.pass_rates={tmp_path / 'base.jsonl'}"]
    config.validate(compose_config("~launcher", *given))
    cfg = compose_config("launcher=sagemaker", *given)
    assert "launcher=sagemaker does not upload it" in problems(cfg)

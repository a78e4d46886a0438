"""What is refused of `trainer.generation` before anything loads. Runs without vLLM."""

import pytest

from rlvr import config
from rlvr.config import generation
from rlvr.errors import UserError
from rlvr.sampling.vllm.settings import TOKEN


@pytest.fixture
def usable(monkeypatch):
    monkeypatch.setattr(generation, "unusable", lambda: None)


def refused(compose_config, *overrides):
    with pytest.raises(UserError) as error:
        config.validate(compose_config("model=tiny", "dataset=word_problems", *overrides))
    return str(error.value)


COLOCATE = "trainer.generation=vllm_colocate"


def test_a_vllm_that_cannot_be_used_is_refused_with_its_reason(compose_config, monkeypatch):
    monkeypatch.setattr(generation, "unusable", lambda: "vLLM is not installed: run this")
    assert f"{COLOCATE}: vLLM is not installed: run this" in refused(compose_config, COLOCATE)


@pytest.mark.parametrize("peft", ["none", "lora", "qlora"])
def test_every_way_of_training_has_a_way(compose_config, usable, peft):
    config.validate(compose_config("model=tiny", "dataset=word_problems", COLOCATE, f"peft={peft}"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("peft.modules_to_save=[lm_head]", "leave out peft.modules_to_save"),
        ("peft.r=1024", "rank 512"),
        ("trainer.num_processes=2", "trainer.num_processes=1"),
        ("trainer.distributed=zero3", "trainer.num_processes=1"),
        ("trainer.loss_type=vespo", "vllm_importance_sampling_mode=token_truncate"),
        ("trainer.vllm.max_model_len=2048", "has 1024 positions"),
        ("trainer.max_completion_length=1024", "leaves no room for a prompt"),
        ("trainer.vllm.memory_share=1.5", "trainer.vllm.memory_share=1.5: must be null or between"),
        ("trainer.temperature=2.5", "lower trainer.temperature"),
        ("trainer.vllm.speculation=ngram +trainer.extra.min_p=0.1", "speculation knows no min_p"),
        ("trainer.vllm.speculation=ngram", "right only where it draws greedily"),
        ("trainer.vllm.server=127.0.0.1:8700", "asked by trainer.generation=vllm_server alone"),
        ("launcher=sagemaker", "jobs on SageMaker install no vLLM"),
    ],
)
def test_what_vllm_cannot_do_is_refused_by_name(compose_config, usable, override, said):
    assert said in refused(compose_config, COLOCATE, "peft=lora", *override.split())


def test_guesses_are_for_a_gpu(compose_config, usable, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    cfg = compose_config(
        "model=tiny", "dataset=word_problems", COLOCATE, "trainer.vllm.speculation=ngram"
    )
    config.validate(cfg)


SERVER = ("trainer.generation=vllm_server", "trainer.vllm.server=127.0.0.1:8700")


def test_a_server_elsewhere_needs_its_token_and_no_vllm_here(compose_config, monkeypatch):
    monkeypatch.setattr(generation, "unusable", lambda: "vLLM is not installed: run this")
    monkeypatch.setenv(TOKEN, "")
    assert f"set {TOKEN} in the environment" in refused(compose_config, *SERVER)
    monkeypatch.setenv(TOKEN, "known to both")
    config.validate(compose_config("model=tiny", "dataset=word_problems", *SERVER))
    for override, said in [
        ("trainer.vllm.server=8700", "must be HOST:PORT"),
        ("launcher.n_jobs=2", "launcher.n_jobs=1"),
        ("trainer.num_processes=2", "trainer.num_processes=1"),
    ]:
        assert said in refused(compose_config, *SERVER, override)


def test_auto_leaves_out_what_vllm_cannot_do(compose_config, usable):
    cfg = compose_config("model=tiny", "dataset=word_problems", "peft=lora", "peft.r=1024")
    config.validate(cfg)
    assert any(generation.reasons_against(cfg))


@pytest.mark.parametrize(("jobs", "gpus"), [(4, 1), (2, 1), (8, 2)])
def test_jobs_whose_shares_of_one_gpu_do_not_fit_are_refused(
    compose_config, usable, monkeypatch, jobs, gpus
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
    assert "share a GPU" in refused(compose_config, COLOCATE, f"launcher.n_jobs={jobs}")
    config.validate(
        compose_config(
            *("model=tiny", "dataset=word_problems", COLOCATE, f"launcher.n_jobs={jobs}"),
            "trainer.vllm.memory_share=0.1",
        )
    )


def test_trls_own_generation_is_refused_and_its_correction_is_not(compose_config, usable):
    said = refused(compose_config, "+trainer.extra.use_vllm=true")
    assert "trainer.extra.use_vllm: " in said
    assert "trainer.generation=vllm_colocate" in said
    refused(compose_config, "+trainer.extra.vllm_mode=server")
    extra = "+trainer.extra.vllm_importance_sampling_mode=token_mask"
    config.validate(compose_config("model=tiny", "dataset=word_problems", COLOCATE, extra))


def test_the_shared_engine_is_the_prefix_cache(compose_config):
    said = refused(compose_config, "trainer.generation=shared", "trainer.prefix_cache=false")
    assert "trainer.prefix_cache=false" in said

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest
from hydra.conf import HydraConf
from hydra.core.utils import setup_globals
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.sweep import compose
from rlvr.sweep.compose import config_hash, place, resolved


class Colour(Enum):
    red = 1


@dataclass
class Settings:
    colour: Colour = Colour.red


def job(index=0, name="name", **values) -> Job:
    setup_globals()
    node = OmegaConf.structured(HydraConf)
    node.runtime.choices = {"hydra/launcher": "rlvr_local"}
    node.sweep.dir, node.sweep.subdir = "unset", "${hydra.job.num}"
    config = OmegaConf.create({"hydra": node, **values})
    return Job(index, name, "", [], "", config=config)


def test_resolved_is_plain_and_without_hydra(tmp_path):
    asked = job(
        index=3,
        a=1,
        b="${a}",
        where="${hydra:runtime.output_dir}",
        s=OmegaConf.structured(Settings),
        m="???",
    )
    place(asked, tmp_path)
    assert (asked.directory, asked.dir) == (tmp_path / "3", "3")
    values = {"a": 1, "b": 1, "where": str(tmp_path / "3"), "s": {"colour": "red"}, "m": "???"}
    assert resolved(asked.config) == values


def test_hash_sees_what_decides_the_result_only(tmp_path):
    base = {"shots": 4, "launcher": {"n_jobs": 1}, "output_dir": "/x", "file": f"{tmp_path}/0/log"}
    same = base | {"launcher": {"n_jobs": 2}, "output_dir": "/y", "tracking": {"uri": "z"}}
    same["file"] = f"{tmp_path}/7/log"
    assert config_hash(base, tmp_path / "0") == config_hash(same, tmp_path / "7")
    assert config_hash(base, tmp_path / "0") != config_hash(base | {"shots": 5}, tmp_path / "0")
    assert config_hash(dict(reversed(base.items())), tmp_path / "0") == config_hash(
        base, tmp_path / "0"
    )


def test_validate_tells_each_problem_once_with_its_jobs():
    jobs = [job(index=i, name=f"x={i}", x=i + 1) for i in range(3)]

    def check(config):
        if config.x > 1:
            raise UserError("x is too large\nand wrong")

    with pytest.raises(UserError) as error:
        compose.validate(jobs, check)
    assert str(error.value) == (
        "2 of 3 jobs cannot run, so none was started:\n"
        "  job #1 x=1; #2 x=2\n    x is too large\n    and wrong"
    )


def test_validate_reports_an_interpolation_that_leads_nowhere():
    with pytest.raises(UserError, match="1 of 1 jobs cannot run"):
        compose.validate([job(x="${nothing}")], lambda config: None)


def test_checks_see_the_config_without_hydra(tmp_path: Path):
    seen = []
    compose.validate([job(x=1)], lambda config: seen.extend(config))
    assert seen == ["x"]


def test_what_several_jobs_share_is_said_once():
    jobs = [job(index=i, name=f"x={i}", x=i) for i in range(3)]
    found = compose.problems(jobs, lambda job: ["all"] + ["odd"] * (job.config.x % 2))
    assert {text: [job.index for job in bad] for text, bad in found.items()} == {
        "all": [0, 1, 2],
        "odd": [1],
    }
    with pytest.raises(UserError, match="3 of 3 jobs cannot run"):
        compose.refuse(jobs, found)
    compose.refuse(jobs, {})


def test_jobs_are_named_as_in_the_final_table():
    config = OmegaConf.create({"trainer": {"learning_rate": 3e-4}, "model": {"path": "x"}, "n": 2})
    typed = ["trainer.learning_rate=0.0003", "model=tiny", "n=2", "launcher.n_jobs=2"]
    swept = {"trainer.learning_rate", "model"}
    assert compose._name(typed, swept, config) == "lr=3e-4 model=tiny"
    assert compose._name(typed, set(), config) == "lr=3e-4 model=tiny n=2"
    assert compose._name(["launcher.n_jobs=2"], set(), config) == ""

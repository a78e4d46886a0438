"""A run that is ended at any moment goes on to the very same bits as one that is not."""

import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
from functools import partial

import pyarrow.parquet
import pytest
from accelerate import PartialState

from rlvr import interruptions, result
from rlvr.run import run
from rlvr.training import checkpoints
from rlvr.training.trainer import Trainer

pytestmark = pytest.mark.slow

RUN = [
    *("model=tiny", "dataset=word_problems", "shots=1", "tracking=none", "peft=lora"),
    *("eval=sampled", "eval.n=4", "eval.batch_size=4", "dataset.train_examples=6"),
    *("trainer.max_steps=6", "trainer.batch_size=8", "trainer.micro_batch_size=4"),
    "trainer.num_generations=4",
    *("trainer.max_completion_length=12", "trainer.gradient_checkpointing=false"),
    # Of four micro-batches sampled together, each is used in two of the next four steps.
    *("trainer.optimizer_steps_per_generation=2", "trainer.num_iterations=2"),
    # Metrics of two steps in one record, and an evaluation that draws from the same generator.
    *("trainer.logging_steps=2", "trainer.eval_steps=3", "trainer.eval_examples=4"),
    "trainer.learning_rate=1e-3",
    "trainer.shared_prefix=tree",  # `auto` chooses by time, which no two runs share
]


@pytest.fixture(scope="module")
def compose(compose_config):
    return lambda *overrides: compose_config(*RUN, *overrides)


def in_child(cfg, folder, prepare=lambda: None):
    """The exit code of a process of its own, which may be killed; its log is `folder.log`."""
    return ended_as(started(cfg, folder, prepare))


def ended_as(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def started(cfg, folder, prepare):
    process = os.fork()
    if process == 0:
        code = 1
        try:
            logging.basicConfig(filename=f"{folder}.log", level=logging.INFO, force=True)
            interruptions.end_on_signals()
            prepare()
            run(cfg, folder)
            code = 0
        except KeyboardInterrupt:
            code = 143
        except BaseException:
            logging.exception("the run")
        finally:
            os._exit(code)
    return process


def in_two_ranks(cfg, folder, prepare=lambda: None):
    """The exit codes; `prepare` acts in the second one only."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def as_rank(rank):
        PartialState._reset_state()
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"ACCELERATE_USE_CPU": "true"}
        if rank == 1:
            prepare()

    ranks = [started(cfg, folder, partial(as_rank, rank)) for rank in range(2)]
    return [ended_as(process) for process in ranks]


def at_call(number, method, send, after=False):
    """In the child: get `send` at a call of a method of the trainer."""

    def prepare():
        own, calls = getattr(Trainer, method), []

        def patched(*args, **kwargs):
            calls.append(1)
            if len(calls) == number and not after:
                os.kill(os.getpid(), send)
            result = own(*args, **kwargs)
            if len(calls) == number and after:
                os.kill(os.getpid(), send)
            return result

        setattr(Trainer, method, patched)

    return prepare


def left(folder):
    """All that a run leaves, but for times."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    tables = sorted((folder / "checkpoints/completions").glob("*.parquet"))
    return {
        "metrics": [{k: v for k, v in r.items() if "perf/" not in k or "tokens_seen" in k}
                    for r in records],
        "completions": [pyarrow.parquet.read_table(table).to_pylist() for table in tables],
        "weights": hashlib.sha256(
            (folder / "model/adapter_model.safetensors").read_bytes()).hexdigest(),
        "evaluations": [(folder / f"evaluations/{phase}.jsonl").read_text()
                        for phase in ("base", "trained")],
    }  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert in_child(compose(), folder) == 0, folder.with_suffix(".log").read_text()
    found = left(folder)
    assert [r["step"] for r in found["metrics"]] == [2, 3, 4, 6, 6, 6]
    return found


def ended(compose, folder, *overrides, prepare):
    code = in_child(compose(*overrides), folder, prepare)
    assert code in (143, -signal.SIGKILL), folder.with_suffix(".log").read_text()
    return checkpoints.newest_first(folder / "checkpoints")


def goes_on(compose, folder, expected, *overrides):
    assert in_child(compose(*overrides), folder) == 0, folder.with_suffix(".log").read_text()
    found = left(folder)
    for name, value in expected.items():
        assert found[name] == value, name


@pytest.mark.parametrize(
    ("call", "method", "after", "step"),
    [
        (6, "training_step", False, 2),  # in the second half of a step
        (2, "_generate", False, 4),  # the evaluation at step 3 is the first call of its own
        (2, "log", True, 3),  # the record is written, the evaluation goes on
        (4, "_get_learning_rate", False, 4),  # the weights have just changed
    ],
)  # fmt: skip
def test_sigterm_saves_the_end_of_the_last_step(
    compose, uninterrupted, tmp_path, call, method, after, step
):
    saved = ended(compose, tmp_path / "run", prepare=at_call(call, method, signal.SIGTERM, after))
    assert len(saved) == 1
    goes_on(compose, tmp_path / "run", uninterrupted)


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    compose, uninterrupted, tmp_path
):
    by_step = "trainer.save_steps=1"
    saved = ended(compose, tmp_path / "run", by_step,
                  prepare=at_call(4, "_save_rng_state", signal.SIGKILL))  # fmt: skip
    assert [checkpoint.name for checkpoint in saved] == ["checkpoint-3", "checkpoint-2"]
    goes_on(compose, tmp_path / "run", uninterrupted, by_step)
    assert "going on from" in (tmp_path / "run.log").read_text()


def test_a_kill_after_the_last_step_trains_no_more(compose, uninterrupted, tmp_path):
    kill = at_call(1, "_finalize_training", signal.SIGKILL, after=True)
    assert ended(compose, tmp_path / "run", prepare=kill)[0].name == "checkpoint-6"
    never = at_call(1, "training_step", signal.SIGKILL)
    assert in_child(compose(), tmp_path / "run", never) == 0
    assert left(tmp_path / "run") == uninterrupted


def test_torn_checkpoints_are_passed_over_and_said(compose, uninterrupted, tmp_path):
    by_step = "trainer.save_steps=1"
    saved = ended(compose, tmp_path / "run", by_step,
                  prepare=at_call(9, "training_step", signal.SIGKILL))  # fmt: skip
    (saved[0] / "optimizer.pt").write_bytes(b"")
    goes_on(compose, tmp_path / "run", uninterrupted, by_step)
    log = (tmp_path / "run.log").read_text()
    assert f"{saved[0].name} is not used: optimizer.pt is not what was written" in log
    assert f"going on from {saved[1]}" in log


def test_a_full_disk_leaves_the_checkpoint_before(compose, uninterrupted, tmp_path):
    by_step = "trainer.save_steps=2"

    def fill():
        own = Trainer._save_rng_state

        def full(self, folder):
            if self.state.global_step == 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            own(self, folder)

        Trainer._save_rng_state = full

    assert in_child(compose(by_step), tmp_path / "run", fill) == 1
    folder = tmp_path / "run/checkpoints"
    assert [c.name for c in checkpoints.newest_first(folder)] == ["checkpoint-2"]
    assert not (folder / checkpoints.ASIDE).exists(), "it takes no room"
    assert result.read(tmp_path / "run").error == "OSError: [Errno 28] No space left on device"
    goes_on(compose, tmp_path / "run", uninterrupted, by_step)


def test_without_any_checkpoint_it_begins_again(compose, uninterrupted, tmp_path):
    assert not ended(compose, tmp_path / "run", prepare=at_call(6, "training_step", signal.SIGKILL))
    goes_on(compose, tmp_path / "run", uninterrupted)


def test_checkpoints_are_made_by_time(compose, tmp_path):
    every_step = ("trainer.save_minutes=1e-6", "eval=none", "trainer.max_steps=40")
    kill = at_call(60, "training_step", signal.SIGKILL)
    assert ended(compose, tmp_path / "run", *every_step, prepare=kill)
    shutil.rmtree(tmp_path / "run")


@pytest.fixture(scope="module")
def in_two(compose, tmp_path_factory):
    """A run of two processes, uninterrupted, and how it is composed."""
    # Which is faster is a matter of luck here; the choice is not what is tried.
    cfg = compose("trainer.num_processes=2", "trainer.micro_batch_size=2", "trainer.save_steps=1",
                  "trainer.shared_prefix=tree")  # fmt: skip
    folder = tmp_path_factory.mktemp("in_two") / "run"
    assert in_two_ranks(cfg, folder) == [0, 0], folder.with_suffix(".log").read_text()
    return cfg, left(folder)


@pytest.mark.parametrize(
    ("call", "method", "send", "step"),
    [
        (6, "training_step", signal.SIGTERM, 2),  # in the second half of a step
        (3, "sample", signal.SIGINT, 3),  # in the evaluation after step 3
        (9, "training_step", signal.SIGKILL, 4),
    ],
)
def test_one_of_two_processes_is_told_to_end(in_two, tmp_path, call, method, send, step):
    cfg, expected = in_two
    killed = at_call(call, method, send)
    codes = in_two_ranks(cfg, tmp_path / "run", killed)
    assert codes == ([143, 143] if send != signal.SIGKILL else [1, -9])
    saved = checkpoints.newest_first(tmp_path / "run/checkpoints")
    assert checkpoints.step(saved[0]) == step
    assert in_two_ranks(cfg, tmp_path / "run") == [0, 0]
    found = left(tmp_path / "run")
    for name, value in expected.items():
        assert found[name] == value, name


SCHEDULED = [
    *("model=tiny", "dataset=word_problems", "shots=3", "shots_schedule=bernoulli"),
    *("shots_until=1", "dataset.exemplar_choice=rotating", "tracking=none", "peft=lora"),
    *("eval=sampled", "eval.n=4", "eval.batch_size=4", "dataset.train_examples=12"),
    *("trainer.max_steps=5", "trainer.batch_size=8", "trainer.micro_batch_size=4"),
    *("trainer.num_generations=4", "trainer.max_completion_length=12"),
    *("trainer.gradient_checkpointing=false", "trainer.learning_rate=1e-3"),
    "trainer.shared_prefix=tree",
]


CHOSEN = [
    *("trainer.dynamic_sampling=2", "trainer.revisit=0.3", "dataset.train_examples=4"),
    *("trainer.max_steps=6", "shots_schedule=linear"),
]


@pytest.mark.parametrize(
    ("more", "call", "send"),
    [([], 6, signal.SIGTERM), ([], 8, signal.SIGKILL), (CHOSEN, 9, signal.SIGTERM),
     (CHOSEN, 10, signal.SIGKILL)],
)  # fmt: skip
def test_schedules_and_chosen_questions_go_on_to_the_same_bits(
    compose_config, tmp_path, more, call, send
):
    compose = partial(compose_config, *SCHEDULED, "trainer.save_steps=1", *more)
    assert in_child(compose(), tmp_path / "whole") == 0, (tmp_path / "whole.log").read_text()
    expected = left(tmp_path / "whole")
    steps = [record for record in expected["metrics"] if "train/shots" in record]
    assert len(steps) == compose().trainer.max_steps
    assert steps[0]["train/shots"] == 3
    if more:
        assert sum(record["train/extra_rollouts"] for record in steps) > 0
        assert sum(record["train/skipped_questions"] for record in steps[2:]) > 0
    assert ended(compose, tmp_path / "run", prepare=at_call(call, "training_step", send))
    goes_on(compose, tmp_path / "run", expected)

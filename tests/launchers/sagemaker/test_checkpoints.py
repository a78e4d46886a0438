import itertools
import json
import shutil
import threading

from hypothesis import given
from hypothesis import strategies as st

from rlvr.launchers.sagemaker.checkpoints import (
    COMPLETE,
    Sealer,
    discard_torn,
    forget_after,
    last_step,
)


def checkpoint(folder, step, *, sealed=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights.bin").write_bytes(b"x" * 100)
    (path / "trainer_state.json").write_text("{}")
    if sealed:
        sealer = Sealer(folder)
        sealer.seal()
        sealer.seal()
    return path


def test_checkpoints_that_the_trainer_removes_meanwhile(tmp_path):
    sealer, stop = Sealer(tmp_path), threading.Event()

    def rotate():
        for step in itertools.takewhile(lambda _: not stop.is_set(), itertools.count(1)):
            path = checkpoint(tmp_path, step, sealed=False)
            (path / "deeper").mkdir()
            shutil.rmtree(path, ignore_errors=True)

    trainer = threading.Thread(target=rotate)
    trainer.start()
    try:
        for _ in range(2000):
            sealer.seal()
    finally:
        stop.set()
        trainer.join()


def test_a_checkpoint_is_sealed_once_it_has_stopped_changing(tmp_path):
    path = checkpoint(tmp_path, 5, sealed=False)
    (path / "trainer_state.json").unlink()
    sealer = Sealer(tmp_path)
    sealer.seal()
    sealer.seal()
    assert not (path / COMPLETE).exists(), "transformers has not written its last file"
    (path / "trainer_state.json").write_text("{}")
    sealer.seal()
    assert not (path / COMPLETE).exists(), "seen once only"
    (path / "weights.bin").write_bytes(b"x" * 200)
    sealer.seal()
    assert not (path / COMPLETE).exists(), "it still grows"
    sealer.seal()
    assert json.loads((path / COMPLETE).read_text()) == {
        "weights.bin": 200,
        "trainer_state.json": 2,
    }


def test_torn_checkpoints_are_not_used(tmp_path):
    checkpoint(tmp_path, 2)
    checkpoint(tmp_path, 4)
    (checkpoint(tmp_path, 6) / "weights.bin").write_bytes(b"x" * 50)
    (checkpoint(tmp_path, 8) / "weights.bin").unlink()
    checkpoint(tmp_path, 10, sealed=False)
    assert sorted(discard_torn(tmp_path)) == ["checkpoint-10", "checkpoint-6", "checkpoint-8"]
    assert last_step(tmp_path) == 4
    assert last_step(tmp_path / "nothing") == 0


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(0, 20), st.booleans())
def test_the_record_ends_at_the_checkpoint(tmp_path_factory, steps, last, torn):
    file = tmp_path_factory.mktemp("m") / "metrics.jsonl"
    lines = [json.dumps({"step": step, "x": 1}) for step in steps]
    file.write_text("".join(f"{line}\n" for line in lines) + ('{"step": 1, "x' if torn else ""))
    dropped = forget_after(file, last)
    kept = [json.loads(line)["step"] for line in file.read_text().splitlines()]
    assert kept == [step for step in steps if step <= last]
    assert dropped == len(steps) - len(kept) + torn
    assert forget_after(file, last) == 0

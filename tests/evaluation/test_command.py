"""`rlvr evaluate`: a finished run asked again, with its own shots and with others."""

import json
import shutil

import pytest

from rlvr.errors import UserError
from rlvr.evaluation.command import evaluate_runs, print_matrix
from rlvr.run import run

SMALL = [
    *(
        "dataset=word_problems",
        "shots=1",
        "tracking=none",
        "eval=sampled",
        "eval.k=2",
        "eval.n=5",
        "eval.batch_size=5",
    ),
    *("trainer.max_steps=1", "trainer.per_device_train_batch_size=4", "rewards=random"),
    *("trainer.gradient_accumulation_steps=1", "trainer.num_generations=4", "eval.before=false"),
    *("trainer.max_completion_length=8", "trainer.gradient_checkpointing=false"),
]


@pytest.mark.parametrize("peft", ["none", "lora"])
def test_a_run_is_evaluated_with_other_shots(compose_config, saved_model, tmp_path, capsys, peft):
    cfg = compose_config(f"model.path={saved_model}", f"peft={peft}", *SMALL)
    folder = tmp_path / "run"
    run(cfg, folder)
    cells = evaluate_runs([folder], [0, 1], None)
    assert [(c.train_shots, c.eval_shots, c.score.n) for c in cells] == [(1, 0, 5), (1, 1, 5)]
    first = (folder / "evaluations/trained.jsonl").read_text()
    assert (folder / "evaluations/trained.shots_1_n_5.jsonl").read_text() == first
    shutil.rmtree(folder / "evaluations/answers")
    evaluate_runs([folder], None, None)
    again = (folder / "evaluations/trained.shots_1_n_5.jsonl").read_text()
    assert again == first, "the saved model, asked anew, says what the run itself heard"
    print_matrix(cells, folder)
    assert "1 shots" in capsys.readouterr().out
    assert len(json.loads((folder / "evaluations.json").read_text())) == 2


def test_too_many_shots_and_no_run_are_messages(compose_config, tmp_path):
    with pytest.raises(UserError, match="is no finished run"):
        evaluate_runs([tmp_path], [0], None)

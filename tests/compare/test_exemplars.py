"""What each exemplar is worth, on a real run of the embedded model."""

import io
import json

import pytest
from rich.console import Console

from rlvr.compare import exemplars
from rlvr.errors import UserError
from rlvr.run import run

SMALL = [
    *("model=tiny", "dataset=word_problems", "shots=2", "tracking=none", "peft=none"),
    *("eval=greedy", "eval.n=12", "eval.batch_size=12", "eval.max_completion_length=48"),
    *("trainer.max_steps=1", "trainer.batch_size=4", "trainer.num_generations=4"),
    *("trainer.max_completion_length=8", "trainer.gradient_checkpointing=false"),
    *("rewards=random", "eval.after=false", "trainer.learning_rate=1e-9"),
]


@pytest.fixture(scope="module")
def finished(compose_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(compose_config(*SMALL), folder)
    return folder


def test_each_exemplar_is_left_out_in_turn(finished):
    console = Console(width=100, file=io.StringIO(), record=True)
    exemplars.present([finished], None, None, console)
    text = console.export_text()
    found = json.loads((finished / exemplars.FILE).read_text())
    assert [(w["phase"], w["number"]) for w in found] == [
        ("base", 1), ("base", 2), ("trained", 1), ("trained", 2),
    ]  # fmt: skip
    base = json.loads((finished / "result.json").read_text())["base"]["accuracy"]
    for worth in found:
        assert worth["gain"]["mean"] == pytest.approx(base - worth["accuracy"]), (
            "the learning rate is too small for the trained model to answer otherwise"
        )
        assert worth["gain"]["n"] == 12
        assert worth["p_value"] >= worth["gain"]["p_value"]
    assert "1 Nora has 9 apples" in text
    assert text.count("[") >= 4, "intervals"
    again = (finished / "evaluations/base.shots_2_without_1_n_12.jsonl").read_text()
    exemplars.present([finished], [2], None, console)
    assert (finished / "evaluations/base.shots_2_without_1_n_12.jsonl").read_text() == again


def test_what_cannot_be_left_out_is_a_message(finished, tmp_path):
    with pytest.raises(UserError, match="there is no exemplar at 0 shots; add --shots N"):
        exemplars.present([finished], [0], None)
    with pytest.raises(UserError, match="takes one run and one number of shots"):
        exemplars.present([finished], [1, 2], None)
    other = tmp_path / "run"
    (other / "model").mkdir(parents=True)
    text = (finished / "config.yaml").read_text()
    (other / "config.yaml").write_text(
        text.replace("exemplar_choice: first", "exemplar_choice: similar")
    )
    with pytest.raises(UserError, match="each question has exemplars of its own"):
        exemplars.present([other], None, None)

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from rlvr.config import Config
from rlvr.data.load import Splits, data_digest, load_splits
from rlvr.errors import UserError
from rlvr.verify.build import build_verifier
from rlvr.verify.exact import ExactVerifier
from rlvr.verify.numeric import NumericVerifier

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared/data/gsm8k"
DATASETS = ("gsm8k", "jsonl", "reasoning_gym", "word_problems")


def compose(name: str, *overrides: str, shots: int = 0) -> DictConfig:
    """conf/dataset/NAME.yaml on the schema, resolved as a run gets it."""
    option = OmegaConf.load(ROOT / f"conf/dataset/{name}.yaml")
    merged = OmegaConf.merge(
        OmegaConf.structured(Config),
        {"shots": shots, "dataset": option},
        OmegaConf.from_dotlist([f"dataset.{o}" for o in overrides]),
    )
    assert isinstance(merged, DictConfig)
    return merged.dataset


def problems(*overrides: str, shots: int = 0, seed: int = 42) -> Splits:
    sizes = ("loader.train_size=100", "loader.test_size=20")
    config = compose("word_problems", *sizes, *overrides, shots=shots)
    return load_splits(config, seed=seed, verifier=NumericVerifier())


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def jsonl(path: str, *overrides: str, shots: int = 0) -> Splits:
    config = compose("jsonl", f"path={path}", *overrides, shots=shots)
    return load_splits(config, seed=42, verifier=NumericVerifier())


def rows(count: int) -> list[dict[str, object]]:
    return [{"question": f"Q{n}?", "answer": str(n), "level": n} for n in range(count)]


def test_splits_prompts_and_stop() -> None:
    splits = problems(shots=2)
    assert [len(x) for x in (splits.train, splits.validation, splits.test)] == [90, 10, 20]
    assert splits.train.column_names == ["prompt", "question", "gold", "solution", "shape", "steps"]
    first = splits.test[0]
    assert first["prompt"] == splits.prompt_builder(first["question"])
    assert first["prompt"].count("#### The final answer is") == 2
    completion = splits.prompt_builder.template.solve(first["solution"], first["gold"])
    run_on = f"{completion}\n\nQuestion: and?\n#### The final answer is 5"
    assert splits.stop.cut(run_on) == completion
    assert splits.verifier.verify([splits.stop.cut(run_on)], [first["gold"]])[0].correct


def test_a_seed_gives_the_same_data_again() -> None:
    one, two, other = problems(), problems(), problems(seed=43)
    for split in ("train", "validation", "test"):
        assert data_digest(getattr(one, split)) == data_digest(getattr(two, split))
        assert data_digest(getattr(one, split)) != data_digest(getattr(other, split))


def test_validation_depends_on_neither_train_examples_nor_shots() -> None:
    whole = problems()
    for splits in (problems("train_examples=7"), problems(shots=4)):
        assert splits.validation["question"] == whole.validation["question"]
        assert data_digest(splits.test) == data_digest(whole.test)
        assert data_digest(splits.validation) == data_digest(whole.validation)


def test_train_examples_takes_the_first_of_the_same_order() -> None:
    whole, one, seven = problems(), problems("train_examples=1"), problems("train_examples=7")
    assert one.train["question"][:] == whole.train["question"][:1]
    assert seven.train["question"][:] == whole.train["question"][:7]
    assert not set(whole.train["question"]) & set(whole.validation["question"])


def test_too_many_train_examples() -> None:
    with pytest.raises(UserError, match=r"dataset\.train_examples=91: .* has 90 training rows"):
        problems("train_examples=91")


def test_no_validation_split() -> None:
    splits = problems("validation_fraction=0")
    assert (len(splits.train), len(splits.validation)) == (100, 0)
    assert splits.validation.column_names[:3] == ["prompt", "question", "gold"]


def test_a_loaders_own_validation_split_is_kept(tmp_path: Path) -> None:
    everything = rows(10)
    for split, part in (("train", slice(6)), ("test", slice(6, 8)), ("validation", slice(8, 10))):
        write(tmp_path / f"{split}.jsonl", everything[part])
    splits = jsonl(str(tmp_path))
    assert splits.validation["level"][:] == [8, 9]
    assert splits.test["level"][:] == [6, 7]
    assert sorted(splits.train["level"]) == list(range(6))


def test_golds_are_canonical(tmp_path: Path) -> None:
    golds: list[object] = ["1,080", "-3", "$12.50", 7, 2.5, " 18 "]
    path = write(tmp_path / "d.jsonl", [{"question": f"{g}?", "answer": g} for g in golds])
    splits = jsonl(path)
    everything = [*splits.train, *splits.validation, *splits.test]
    found = {r["question"]: r["gold"] for r in everything}
    assert found == {
        "1,080?": "1080",
        "-3?": "-3",
        "$12.50?": "12.5",
        "7?": "7",
        "2.5?": "2.5",
        " 18 ?": "18",
    }


@pytest.mark.parametrize("gold", ["twelve", "", "nan", "x" * 500])
def test_a_bad_gold_in_row_17_is_named(tmp_path: Path, gold: str) -> None:
    everything = rows(30)
    everything[16]["answer"] = gold
    with pytest.raises(UserError, match=r"1 of 30 gold answers.*\n.*d\.jsonl:17: '") as info:
        jsonl(write(tmp_path / "d.jsonl", everything))
    assert len(str(info.value)) < 1000


def test_text_golds_need_the_exact_verifier(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"question": f"{n}?", "answer": "yes"} for n in range(4)])
    config = compose("jsonl", f"path={path}")
    assert load_splits(config, seed=1, verifier=ExactVerifier()).test["gold"][:] == ["yes"]
    with pytest.raises(UserError, match=r"choose another dataset\.verifier"):
        jsonl(path)


def test_rows_without_a_place_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    import rlvr.data.sources.word_problems

    def bad(**_: object) -> dict[str, list[dict[str, object]]]:
        good = {"question": "Q?", "gold": 1}
        return {"train": [good, good, {"question": "Q?", "gold": [1]}], "test": [good]}

    monkeypatch.setattr(rlvr.data.sources.word_problems, "load", bad)
    config = compose("word_problems")
    with pytest.raises(UserError, match=r"\n  train row 3: \[1\]: "):
        load_splits(config, seed=1, verifier=NumericVerifier())


def test_an_exemplar_among_the_test_questions_is_refused(tmp_path: Path) -> None:
    everything = rows(10)
    write(tmp_path / "train.jsonl", everything[:8])
    write(tmp_path / "test.jsonl", everything[8:])
    leak = [{"question": "q9? ", "solution": "It is 9.", "answer": "9"}]
    shown = write(tmp_path / "shown.jsonl", leak)
    with pytest.raises(UserError, match=r"exemplar 1 is also a test question: 'q9\?'"):
        jsonl(str(tmp_path), f"exemplars={shown}", shots=1)
    assert len(jsonl(str(tmp_path), f"exemplars={shown}", shots=0).test) == 2


def test_lesser_overlaps_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    everything = rows(10)
    write(tmp_path / "train.jsonl", everything[:9])
    write(tmp_path / "test.jsonl", everything[8:])
    shown = write(tmp_path / "shown.jsonl", [{"question": "Q0?", "solution": "0.", "answer": 0}])
    with caplog.at_level(logging.WARNING):
        jsonl(str(tmp_path), f"exemplars={shown}", "validation_fraction=0", shots=1)
    assert "1 exemplars are also training or validation questions" in caplog.text
    assert "1 train questions are also test questions" in caplog.text


def test_bad_exemplar_answer(tmp_path: Path) -> None:
    shown = write(tmp_path / "s.jsonl", [{"question": "A?", "solution": "B.", "answer": "twelve"}])
    path = write(tmp_path / "d.jsonl", rows(10))
    with pytest.raises(UserError, match=r"s\.jsonl, exemplar 1: 'twelve': "):
        jsonl(path, f"exemplars={shown}", shots=1)


def test_bad_golds_can_be_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    everything = rows(30)
    everything[16]["answer"] = "twelve"
    path = write(tmp_path / "d.jsonl", everything)
    with caplog.at_level(logging.WARNING):
        splits = jsonl(path, "bad_golds=drop")
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 29
    assert "dropped 1 of" in caplog.text


def test_own_questions_have_no_exemplars_by_default(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", rows(10))
    assert "#### The final answer is" not in jsonl(path).test[0]["prompt"]
    with pytest.raises(UserError, match=r"shots=2: dataset has no exemplars\. Use shots=0"):
        jsonl(path, shots=2)


def test_a_relative_path_is_found_in_the_project(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose("jsonl", "path=examples/own_verifier/capitals.jsonl")
    assert len(load_splits(config, seed=1, verifier=ExactVerifier()).train) > 20


def test_shots_without_exemplars() -> None:
    assert len(problems("exemplars=null").train) == 90
    with pytest.raises(UserError, match=r"shots=2: dataset has no exemplars"):
        problems("exemplars=null", shots=2)


@pytest.mark.slow
def test_generated_exemplars_and_answers_of_several_lines() -> None:
    pytest.importorskip("reasoning_gym", reason="reasoning_gym is an optional package")
    sizes = ("loader.train_size=20", "loader.test_size=5", "loader.config.max_empty=9")
    config = compose("reasoning_gym", "loader.task=mini_sudoku", *sizes, shots=2)
    verifier = build_verifier(config)
    splits = load_splits(config, seed=1, verifier=verifier)
    row = splits.test[0]
    completion = splits.prompt_builder.template.solve("So.", row["gold"])
    assert row["prompt"].count("#### The final answer is") == 2
    assert splits.stop.cut(f"{completion}\n\nQuestion: b") == f"{completion}\n"
    columns = {name: [row[name]] for name in ("question", "metadata")}
    assert verifier.verify([completion], [row["gold"]], **columns)[0].correct
    config = compose("reasoning_gym", *sizes[:2], shots=9)
    with pytest.raises(UserError, match=r"shots=9: dataset reasoning_gym has 8 exemplars"):
        load_splits(config, seed=1, verifier=verifier)


def test_mixed_columns_are_named(tmp_path: Path) -> None:
    everything = rows(10)
    everything[3]["level"] = "hard"
    with pytest.raises(UserError, match=r"column 'level' mixes kinds of values: "):
        jsonl(write(tmp_path / "d.jsonl", everything))


def test_columns_that_some_rows_lack(tmp_path: Path) -> None:
    everything = rows(10)
    del everything[0]["level"]
    splits = jsonl(write(tmp_path / "d.jsonl", everything), "validation_fraction=0")
    assert sorted(map(str, [*splits.train["level"], *splits.test["level"]])).count("None") == 1


@pytest.mark.parametrize("question", ["plain", "{q}", "{}", "{question} {", "{question} {x}"])
def test_bad_template(question: str) -> None:
    config = compose("word_problems")
    config.prompt.question = question
    with pytest.raises(UserError, match=r"dataset\.prompt\.question=.*placeholder \{question\}"):
        load_splits(config, seed=1, verifier=NumericVerifier())


def test_an_empty_stop_string() -> None:
    config = compose("word_problems")
    config.stop.strings = ["\nQuestion:", ""]
    with pytest.raises(UserError, match=r"dataset\.stop\.strings: an empty string"):
        load_splits(config, seed=1, verifier=NumericVerifier())


def test_stop_follows_the_prompts_answer_prefix() -> None:
    config = compose("word_problems")
    config.prompt.answer_prefix = "Answer:"
    splits = load_splits(config, seed=1, verifier=NumericVerifier())
    assert splits.stop.cut("so\nAnswer: 5\nand") == "so\nAnswer: 5"
    assert build_verifier(config).verify(["Answer: 5"], ["5"])[0].correct


def test_digest_is_stable_and_sees_every_value() -> None:
    row = {"prompt": "x", "question": "Q?", "gold": "1", "extra": None}
    assert data_digest([row]) == "b378d3f88365bb79"
    assert data_digest([{**row, "prompt": "y"}]) == data_digest([row])
    assert data_digest([dict(reversed(row.items()))]) == data_digest([row])
    assert data_digest([{**row, "gold": "2"}]) != data_digest([row])
    assert data_digest([row, {**row, "gold": "2"}]) != data_digest([{**row, "gold": "2"}, row])


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real GSM8K is not at {REAL}")
def test_real_gsm8k(caplog: pytest.LogCaptureFixture) -> None:
    config = compose("gsm8k", f"path={REAL}", shots=8)
    splits = load_splits(config, seed=42, verifier=NumericVerifier())
    assert [len(x) for x in (splits.train, splits.validation, splits.test)] == [6726, 747, 1319]
    golds = [g for s in ("train", "validation", "test") for g in getattr(splits, s)["gold"]]
    assert all(str(int(g)) == g for g in golds)
    assert sum(int(g) < 0 for g in golds) == 5
    template = splits.prompt_builder.template
    completions = [template.solve(r["solution"], r["gold"]) for r in splits.test]
    assert all(splits.stop.cut(c + "\n\nQuestion: b?") == c for c in completions)
    assert all(v.correct for v in splits.verifier.verify(completions, splits.test["gold"][:]))
    assert "questions" not in caplog.text  # no overlap of splits or exemplars


@pytest.mark.parametrize("name", DATASETS)
def test_options_name_real_functions(name: str) -> None:
    text = (ROOT / f"conf/dataset/{name}.yaml").read_text()
    assert text.startswith(f"# python train.py dataset={name}")
    config = compose(name)
    assert config.name == name
    for node in (config.loader, config.verifier):
        assert callable(get_object(node._target_))


def test_importing_the_loaders_imports_nothing_heavy() -> None:
    sources = ("gsm8k", "hub", "jsonl", "reasoning_gym", "word_problems")
    modules = ", ".join(["rlvr.data.load", *(f"rlvr.data.sources.{name}" for name in sources)])
    heavy = "{'torch', 'datasets', 'transformers', 'pandas', 'pyarrow', 'reasoning_gym'}"
    code = f"import sys, {modules}, rlvr.verify.reasoning_gym; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr

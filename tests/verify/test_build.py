"""The one place that builds verifiers: the dataset's own values, and messages for the user's."""

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr import config
from rlvr.check import check
from rlvr.config.schema import DatasetConfig
from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.verify.build import build_verifier
from rlvr.verify.judge import judge
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason

ROOT = Path(__file__).parents[2]

OWN = """
from rlvr.verify.verdict import Reason, Verdict

class Plain:
    def __init__(self, case=False):
        self.case = case
    def canonical(self, gold):
        return str(gold)
    def verify(self, completions, golds, **columns):
        return [Verdict(float(c == g), Reason.CORRECT) for c, g in zip(completions, golds)]

class Prefixed(Plain):
    def __init__(self, answer_prefix, task=None):
        self.seen = (answer_prefix, task)

class Anything(Plain):
    def __init__(self, **settings):
        self.seen = settings

class Raises(Plain):
    def __init__(self):
        self.table = {}["missing"]

class Faulty(Plain):
    def verify(self, completions, golds, **columns):
        return [text.split()[99] for text in completions]

class NoVerifier:
    pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A user's module `myver` on the Python path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "myver.py").write_text(OWN)
    yield tmp_path / "myver.py"
    sys.modules.pop("myver", None)


@pytest.fixture
def documented(module):
    """The class of docs/rewards.md, beside the user's own."""
    section = (ROOT / "docs/rewards.md").read_text().split("## A verifier of your own")[1]
    (module.parent / "from_docs.py").write_text(section.split("```python\n")[1].split("```")[0])
    yield "from_docs.LastWord"
    sys.modules.pop("from_docs", None)


def test_the_documented_class_works_with_a_shipped_dataset(compose_config, documented):
    cfg = compose_config("~launcher", "dataset=word_problems", "shots=2",
                         f"dataset.verifier._target_={documented}")  # fmt: skip
    config.validate(cfg)
    verifier = build_verifier(cfg.dataset)
    splits = load_splits(cfg.dataset, seed=1, verifier=verifier)
    rows = splits.test.select(range(3)).to_list()
    texts = [f"so it is {rows[0]['gold']}.", "so it is wrong", ""]
    reasons = [verdict.reason for verdict in judge(verifier, rows, texts)]
    assert reasons == [Reason.CORRECT, Reason.WRONG, Reason.NO_ANSWER]


def test_an_exception_in_verify_names_the_users_line(module):
    verifier = build_verifier(dataset("myver.Faulty"))
    said = r"verifier Faulty raised IndexError: .* \(myver\.py:\d+\)"
    with pytest.raises(UserError, match=said):
        judge(verifier, [{"prompt": "", "gold": "1"}], [""])
    own = "dataset.verifier._target_=myver.Faulty"
    with pytest.raises(UserError, match=said):
        check(["experiment=debug", "shots=0", "dataset.exemplars=null", "tracking=none", own])


def dataset(target: str, **settings):
    node = OmegaConf.structured(DatasetConfig(name="mine", loader={"task": "sums"}, verifier={}))
    node.num_shots = 0
    node.verifier = {"_target_": target, **settings}
    return node


def test_a_class_gets_what_it_takes_of_the_datasets_own(module):
    node = dataset("myver.Prefixed")
    node.prompt.answer_prefix = "So:"
    assert build_verifier(node).seen == ("So:", "sums")
    assert build_verifier(dataset("myver.Plain")).case is False
    assert build_verifier(dataset("myver.Anything")).seen == {}


def test_what_is_set_for_the_verifier_goes_first(module):
    assert build_verifier(dataset("myver.Prefixed", answer_prefix=None)).seen == (None, "sums")
    assert build_verifier(dataset("myver.Plain", case=True)).case is True


@pytest.mark.parametrize("name", ["gsm8k", "jsonl", "word_problems", "reasoning_gym"])
def test_every_dataset_takes_a_verifier_of_the_users_own(compose_config, module, name):
    needed = ["dataset.path=."] if name == "jsonl" else []
    own = "dataset.verifier._target_=myver.Plain"
    cfg = compose_config("~launcher", f"dataset={name}", "shots=0", own, *needed)
    config.validate(cfg)
    assert type(build_verifier(cfg.dataset)).__name__ == "Plain"


def test_the_shipped_verifier_reads_the_prompts_own_answer_line(compose_config):
    prefix = "dataset.prompt.answer_prefix=Answer:"
    cfg = compose_config("~launcher", "dataset=word_problems", prefix)
    verifier = build_verifier(cfg.dataset)
    assert isinstance(verifier, NumericVerifier)
    assert verifier.verify(["so\nAnswer: 5"], ["5"])[0].correct


def test_an_unknown_parameter_is_refused_with_what_the_class_takes(module):
    node = dataset("myver.Plain", cas=True)
    with pytest.raises(UserError) as error:
        build_verifier(node)
    message = str(error.value)
    assert "dataset.verifier.cas is not a parameter of myver.Plain: did you mean case?" in message
    assert "It takes: case." in message
    assert "~dataset.verifier.cas" in message


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("myver.Raises", r"myver\.Raises raised KeyError: 'missing' \(myver\.py:22\)"),
        ("myver.NoVerifier", "has no method canonical and no method verify"),
        ("myver.Nothing", "Nothing"),
        ("nowhere.Plain", "there is no module 'nowhere' on the Python path"),
        ("myver.__name__", "neither a function nor a class"),
    ],
)
def test_what_is_wrong_with_a_class_is_one_message(module, target, said):
    with pytest.raises(UserError, match=said):
        build_verifier(dataset(target))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import rlvr\n\nx = 1 / 0\n", r"ZeroDivisionError: division by zero \(broken\.py:3\)"),
        ("def f(:\n", r"SyntaxError: .*\(broken\.py:1\)"),
        ("import no_such_thing\n", "No module named 'no_such_thing'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_line(module, text, said):
    (module.parent / "broken.py").write_text(text)
    with pytest.raises(UserError, match=said) as error:
        build_verifier(dataset("broken.Plain"))
    assert "dataset.verifier._target_=broken.Plain: " in str(error.value)
    sys.modules.pop("broken", None)

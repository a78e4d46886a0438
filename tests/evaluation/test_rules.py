"""Others' rules do what the others' code does: lm_eval itself is asked where it is installed."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.evaluation.rules import PROMPT, FlexibleExtract, LastInteger, StrictMatch
from rlvr.verify.numeric import NumericVerifier

GSM8K = Path(__file__).parents[3] / "shared/data/gsm8k"
STRICT, FLEXIBLE = StrictMatch(), FlexibleExtract()
PIECES = [
    *("#### ", "####", "-", "$", ",", ".", " ", "\n", "7", "12", "1,080", "18.00", "$5.", "..."),
    *("The answer is ", "Question: ", "#### The final answer is ", "[invalid]", "٣", "é", "\0"),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map("".join)
NUMBERS = st.integers(-9999, 99999).map(str) | st.decimals(
    -999, 999, places=2, allow_nan=False
).map(str)


def is_right(rule, text, gold):
    (verdict,) = rule.verify([text], [gold])
    return verdict.correct


@pytest.fixture(scope="module")
def task():
    """The filters and metric of the harness's own gsm8k.yaml, run by its own code."""
    lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed (rlvr[lm-eval])")
    import yaml

    file = Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml"
    return yaml.safe_load(file.read_text())


def by_lm_eval(task, name, texts, answers):
    """Whether each text is right by the filter `name`; `answers` are the data set's own texts."""
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    (steps,) = [f["filter"] for f in task["filter_list"] if f["name"] == name]
    pick = RegexFilter(**{k: v for k, v in steps[0].items() if k != "function"})
    (metric,) = task["metric_list"]
    options = ("ignore_case", "ignore_punctuation", "regexes_to_ignore")
    settings_ = {key: metric[key] for key in options}
    found = pick.apply([[text] for text in texts], [{}] * len(texts))
    return [
        bool(exact_match_hf_evaluate([one[0]], [answer], **settings_)["exact_match"])
        for one, answer in zip(found, answers, strict=True)
    ]


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(st.lists(st.tuples(TEXTS, NUMBERS), min_size=1, max_size=3))
def test_every_text_gets_lm_evals_own_verdict(task, pairs):
    texts = [part for text, gold in pairs for part in (text, f"{text}#### {gold}", text + gold)]
    golds = [gold for _, gold in pairs for _ in range(3)]
    answers = [f"a\n#### {gold}" for gold in golds]
    for name, rule in (("strict-match", STRICT), ("flexible-extract", FLEXIBLE)):
        ours = [v.correct for v in rule.verify(texts, golds)]
        assert ours == by_lm_eval(task, name, texts, answers)


def test_our_canonical_golds_are_lm_evals_on_all_of_gsm8k(task):
    """The harness compares with the data set's own text, "1,080" and all."""
    if not GSM8K.is_dir():
        pytest.skip("GSM8K's files are not beside the repository")
    lines = [
        json.loads(x) for f in sorted(GSM8K.glob("*.jsonl")) for x in f.read_text().split("\n") if x
    ]
    raw = [line["answer"] for line in lines]
    golds = [NumericVerifier().canonical(answer.rpartition("####")[2].strip()) for answer in raw]
    assert len(golds) > 8000
    for name, rule in (("strict-match", STRICT), ("flexible-extract", FLEXIBLE)):
        ours = [v.correct for v in rule.verify(raw, golds)]
        assert ours == by_lm_eval(task, name, raw, raw)
        assert all(ours)


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("#### 7", True, True),
        ("#### The final answer is 7", False, True),
        ("#### 7.\n#### 8", True, False),
        ("so 8\n####7", False, True),
        ("It is $7.", False, True),
        ("It is 7. ...", False, False),
        ("It is 7.00", False, False),
        ("", False, False),
    ],
)
def test_what_each_filter_reads(text, strict, flexible):
    assert is_right(STRICT, text, "7") is strict
    assert is_right(FLEXIBLE, text, "7") is flexible


def test_the_strict_filter_knows_which_prompts_it_can_read():
    assert STRICT.can_read("####")
    assert not STRICT.can_read("#### The final answer is")
    assert not STRICT.can_read("Answer:")


@pytest.mark.parametrize(
    ("prompt", "completion", "right"),
    [
        ("Question: 3+4?", "It is 7", True),
        ("Question: 3+4?", "It is 7\nQuestion: 2+2?", False),
        ("Question: what is 7?", " I do not know", True),
        ("Question: 3+4?", "1,007", False),
        ("Question: 3+4?", "7.00", False),
    ],
)
def test_the_reference_post_takes_the_last_integer_of_prompt_and_answer(prompt, completion, right):
    (verdict,) = LastInteger().verify([completion], ["7"], **{PROMPT: [prompt]})
    assert verdict.correct is right

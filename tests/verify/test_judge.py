"""Completions become verdicts in one place; a verifier that is wrong is told, not trained on."""

from contextlib import contextmanager

import pytest

from rlvr.errors import UserError
from rlvr.verify.judge import Begun, judge
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
WRONG = Verdict(0.0, Reason.WRONG)


def row(gold="12", prompt="Question: ?", **columns):
    return {"prompt": prompt, "question": "?", "gold": gold, **columns}


class Verifier:
    """Does what a test says."""

    def __init__(self, verify):
        self._verify = verify

    def canonical(self, gold):
        return gold

    def verify(self, completions, golds, **columns):
        return self._verify(completions, golds, columns)


def judged(verify, *texts, rows=None):
    return judge(Verifier(verify), rows or [row()] * len(texts), texts)


def test_each_completion_is_judged_by_its_own_row():
    texts = [f"\n{PREFIX} 12", f"\n{PREFIX} 13", "nothing"]
    verdicts = judge(NumericVerifier(), [row("12"), row("12"), row("13")], texts)
    assert [v.reason for v in verdicts] == [Reason.CORRECT, Reason.WRONG, Reason.NO_ANSWER]


def test_verifiers_get_the_datasets_columns_alone():
    def verify(completions, golds, columns):
        assert (list(completions), golds) == (["a", "b"], ["1", "2"])
        assert columns == {"question": ["?", "?"], "level": [1, None]}
        return [WRONG] * 2

    judged(verify, "a", "b", rows=[row("1", level=1, index=7), row("2", index=8)])


def test_a_thought_that_the_prompt_has_opened_is_judged_as_one():
    thinking = row(prompt="Question: ? <think>")
    inside, after = f"\n{PREFIX} 12\n", f"\n{PREFIX} 13\n</think>\n{PREFIX} 12"
    verdicts = judge(NumericVerifier(), [thinking, thinking], [inside, after])
    assert [v.reason for v in verdicts] == [Reason.NO_ANSWER, Reason.CORRECT]
    (verdict,) = judge(NumericVerifier(), [row(prompt="<think>a</think> ?")], [inside])
    assert verdict.correct


class Early(Verifier):
    """Judges what it is given, and says in which order."""

    def __init__(self):
        self.seen = []
        super().__init__(lambda texts, golds, columns: [self.one(t) for t in texts])

    def one(self, text):
        self.seen.append(text)
        return Verdict(float(text), Reason.PARTIAL)

    @contextmanager
    def begin(self):
        def submit(completion, gold, **columns):
            assert (gold, columns) == ("12", {"question": "?", "level": 1})
            verdict = self.one(completion)
            return lambda: verdict

        yield submit
        self.seen.append("closed")


def test_what_has_begun_is_judged_once_and_stands_in_its_place():
    verifier, rows = Early(), [row(level=1)] * 4
    with Begun(verifier, rows) as begun:
        begun.add(2, "0.2")
        begun.add(0, "0.0")
        verdicts = judge(verifier, rows, ["0.0", "0.1", "0.2", "0.3"], begun)
    assert [v.reward for v in verdicts] == [0.0, 0.1, 0.2, 0.3]
    assert verifier.seen == ["0.2", "0.0", "0.1", "0.3", "closed"]


def test_a_verifier_that_cannot_begin_is_asked_at_the_end():
    rows = [row(), row("13")]
    with Begun(NumericVerifier(), rows) as begun:
        begun.add(1, f"{PREFIX} 13")
        verdicts = judge(NumericVerifier(), rows, [f"{PREFIX} 13"] * 2, begun)
    assert [v.correct for v in verdicts] == [False, True]


def test_a_verifier_that_fails_early_is_named():
    verifier = Early()
    with pytest.raises(UserError, match="verifier Early"), Begun(verifier, [row(level=1)]) as begun:
        begun.add(0, "no number")


def test_a_batch_is_judged_in_one_call_and_an_empty_one_in_none():
    calls = []

    def verify(completions, golds, columns):
        calls.append(len(completions))
        return (WRONG,) * len(completions)

    assert judged(verify) == []
    assert judged(verify, *["a"] * 50) == [WRONG] * 50
    assert calls == [50]


def crash(completions, golds, columns):
    return [float(text) for text in completions]


def leave(completions, golds, columns):
    raise SystemExit(2)


@pytest.mark.parametrize(
    ("verify", "message"),
    [
        (crash, r"Verifier raised ValueError: could not convert.* \(test_judge.py:\d+\)"),
        (leave, r"Verifier called sys.exit\(2\) \(test_judge.py:\d+\)"),
        (lambda c, g, columns: [WRONG], r"\(test_judge.py:\d+\) returned 1; expected a list of 2 "),
        (lambda c, g, columns: [], r"returned 0; expected a list of 2 .*Verdict, one per"),
        (lambda c, g, columns: None, "returned NoneType; expected a list of 2"),
        (lambda c, g, columns: [WRONG, 1.0], "returned 1.0; expected a list of 2"),
        (lambda c, g, columns: [True, False], "returned True; expected a list of 2"),
    ],
)
def test_a_verifier_that_is_wrong_is_named_with_its_file(verify, message):
    with pytest.raises(UserError, match=rf"verifier .*{message}"):
        judged(verify, "a", "b")


def test_ctrl_c_ends_the_run():
    def interrupted(completions, golds, columns):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(interrupted, "a")


def test_a_message_of_its_own_is_left_as_it_is():
    def verify(completions, golds, columns):
        raise UserError("pip install rlvr[reasoning-gym]")

    with pytest.raises(UserError, match=r"^pip install"):
        judged(verify, "a")

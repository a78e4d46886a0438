"""The table at the end of a run."""

from dataclasses import asdict

from rlvr.evaluation.evaluate import Score
from rlvr.evaluation.report import paired, print_result
from rlvr.result import Result


def rows(*shares):
    return [{"correct": [s], "reward": [None if s is None else float(s)]} for s in shares]


def test_pairs_leave_out_what_the_verifier_failed_on():
    result = paired(rows(True, False, None, True), rows(True, True, True, None))
    assert (result["n"], result["base_only"], result["trained_only"]) == (2, 0, 1)


def test_the_table_shows_both_models_and_the_test(tmp_path, capsys):
    base = Score(0.25, 0.2, 0.31, 200, 50, {"1": 0.25, "4": 0.5}, mean_length=81.2, format_rate=0.9)
    trained = Score(0.75, 0.69, 0.8, 200, 150, {"1": 0.75, "4": 0.9}, mean_length=60)
    test = {"n": 200, "base_only": 3, "trained_only": 103, "p_value": 1e-20}
    print_result(Result(base=asdict(base), trained=asdict(trained), paired=test, shots=4), tmp_path)
    text = capsys.readouterr().out
    for part in ("25.0%", "75.0%", "69.0% to 80.0%", "pass@4", "90.0%", "81", "4 shots"):
        assert part in text
    assert "+50.0 points; 103 questions won, 3 lost, of 200: p < 0.001" in text


def test_a_run_without_evaluation_has_no_table(tmp_path, capsys):
    print_result(Result(), tmp_path)
    assert "accuracy" not in capsys.readouterr().out

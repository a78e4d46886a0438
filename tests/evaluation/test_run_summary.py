"""The table at the end of a run."""

from dataclasses import asdict

from rlvr.evaluation.run_summary import print_result
from rlvr.evaluation.score import Score
from rlvr.result import Result


def test_the_table_shows_both_models_and_the_test(tmp_path, capsys):
    base = Score(0.25, 0.2, 0.31, 200, 50, {"1": 0.25, "4": 0.5}, mean_length=81.2, format_rate=0.9)
    trained = Score(0.75, 0.69, 0.8, 200, 150, {"1": 0.75, "4": 0.9}, mean_length=60)
    test = {"n": 200, "base_only": 3, "trained_only": 103, "p_value": 1e-20}
    print_result(Result(base=asdict(base), trained=asdict(trained), paired=test, shots=4), tmp_path)
    text = capsys.readouterr().out
    for part in ("25.0%", "75.0%", "69.0% to 80.0%", "pass@4", "90.0%", "81", "4 shots"):
        assert part in text
    assert "+50.0 points; 103 questions won, 3 lost, of 200: p < 0.001" in text


def test_pass_at_k_has_its_interval_and_code_its_tests(tmp_path, capsys):
    score = asdict(Score(0.25, 0.2, 0.31, 200, 50, {"1": 0.25, "10": 0.5}))
    score["pass_at_k_intervals"] = {"1": [0.2, 0.3], "10": [0.41, 0.59]}
    score["tests_passed"] = {"all": 0.345, "shown": 0.6, "hidden": 0.2}
    print_result(Result(base=score, trained=score), tmp_path)
    text = capsys.readouterr().out
    for part in ("50.0% (41.0% to 59.0%)", "tests passed", "34.5%", "hidden tests passed", "20.0%"):
        assert part in text


def test_benchmarks_have_their_own_lines(tmp_path, capsys):
    base, trained = asdict(Score(0.25, 0.2, 0.3, 200, 50)), asdict(Score(0.5, 0.4, 0.6, 100, 50))
    test = {"n": 100, "base_only": 3, "trained_only": 28, "p_value": 0.04}
    own = {"base": base, "trained": trained, "paired": test}
    print_result(Result(base=base, trained=base, benchmarks={"svamp": own}), tmp_path)
    text = capsys.readouterr().out
    assert "svamp: accuracy" in text
    assert "svamp: +25.0 points; 28 questions won, 3 lost, of 100: p = 0.040" in text


def test_a_run_without_evaluation_has_no_table(tmp_path, capsys):
    print_result(Result(), tmp_path)
    assert "accuracy" not in capsys.readouterr().out

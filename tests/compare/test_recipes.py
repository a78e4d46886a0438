import pytest

from rlvr.compare.comparison import read_runs, read_sweep
from rlvr.evaluation.statistics import paired_test
from rlvr.result import read


def three_seeds(make_sweep, answer, n: int = 100, **arguments):
    """Right answers: 60, 62 and 64 of 100 after training, 40 before."""
    jobs = [
        (f"shots=4 seed={s}", {"base": 0.4, "trained": 0.58 + 0.02 * s, "n": n, **arguments})
        for s in (1, 2, 3)
    ]
    directory = make_sweep(jobs)
    for place in range(3):
        answer(directory / str(place), "base", [i < 40 for i in range(n)])
        answer(directory / str(place), "trained", [i < 60 + 2 * place for i in range(n)])
    return directory


def test_runs_that_differ_in_their_seed_alone_are_one_recipe(make_sweep):
    jobs = [(f"shots={shots} seed={seed}", {}) for shots in (0, 4) for seed in (1, 2, 3)]
    recipes = read_sweep(make_sweep(jobs)).recipes
    assert [recipe.name for recipe in recipes] == ["runs 0-2", "runs 3-5"]
    assert [recipe.title for recipe in recipes] == ["runs 0-2 (shots=0)", "runs 3-5 (shots=4)"]


def test_their_numbers_where_the_seed_is_swept_first(make_sweep):
    jobs = [(f"seed={seed} shots={shots}", {}) for seed in (1, 2) for shots in (0, 4)]
    assert [r.numbers for r in read_sweep(make_sweep(jobs)).recipes] == ["0,2", "1,3"]


def test_a_single_seed_stays_a_setting(make_sweep):
    recipes = read_sweep(make_sweep([("shots=0 seed=1", {}), ("shots=4 seed=2", {})])).recipes
    assert [r.label() for r in recipes] == ["shots=0, seed=1", "shots=4, seed=2"]


def test_the_same_seed_again_is_no_replicate(make_sweep, make_run, tmp_path):
    make_run(tmp_path / "a", ["shots=4", "seed=1"])
    make_run(tmp_path / "b", ["shots=4", "seed=1"])
    make_run(tmp_path / "c", ["shots=4", "seed=2"])
    found = read_runs([tmp_path / name for name in "abc"], tmp_path).recipes
    assert [[run.name for run in recipe.runs] for recipe in found] == [["a", "c"], ["b"]]


def test_runs_that_differ_in_more_than_their_seed_are_no_replicates(make_run, tmp_path):
    """Of two sweeps, say, of which only one sets eval.k on its command line's YAML."""
    for name, seed in (("a", 1), ("b", 2)):
        make_run(tmp_path / name, ["shots=4", f"seed={seed}"])
    config = tmp_path / "b" / "config.yaml"
    config.write_text(config.read_text().replace("k: 1", "k: 4"))
    found = read_runs([tmp_path / name for name in "ab"], tmp_path).recipes
    assert [r.label() for r in found] == ["seed=1, k=1", "seed=2, k=4"]


def test_what_follows_the_seed_is_no_difference(make_run, tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        make_run(tmp_path / name, ["shots=4", f"seed={seed}"])
        with (tmp_path / name / "config.yaml").open("a") as config:
            config.write(f"rewards:\n  random:\n    seed: {seed}\n")
    assert len(read_runs([tmp_path / name for name in "ab"], tmp_path).recipes) == 1


def test_mean_deviation_and_single_accuracies(make_sweep, answer):
    (recipe,) = read_sweep(three_seeds(make_sweep, answer)).recipes
    assert recipe.trained["accuracy"] == pytest.approx(0.62)
    assert recipe.trained["accuracies"] == pytest.approx([0.60, 0.62, 0.64])
    assert recipe.trained["deviation"] == pytest.approx(0.02)
    assert recipe.trained["n"] == 100
    assert recipe.points == pytest.approx(22)
    assert recipe.trained["low"] < 0.6 < 0.64 < recipe.trained["high"]


def test_pass_at_k_is_the_mean_where_all_seeds_have_it(make_sweep):
    directory = make_sweep([(f"seed={seed}", {}) for seed in (1, 2)])
    for number, passes in enumerate(({"1": 0.4, "5": 0.6, "10": 0.9}, {"1": 0.5, "5": 0.7})):
        found = read(directory / str(number))
        found.trained["pass_at_k"] = passes
        found.write(directory / str(number))
    (recipe,) = read_sweep(directory).recipes
    assert recipe.trained["pass_at_k"] == {"1": pytest.approx(0.45), "5": pytest.approx(0.65)}


def test_the_gain_of_several_seeds_by_hand(make_sweep, answer):
    """Each of 100 questions is gained in all, two, one or no seeds: 20, 2, 2 and 76."""
    (recipe,) = read_sweep(three_seeds(make_sweep, answer)).recipes
    per_question = [1.0] * 20 + [2 / 3] * 2 + [1 / 3] * 2 + [0.0] * 76
    mean = sum(per_question) / 100
    within = sum((g - mean) ** 2 for g in per_question) / 99 / 100
    assert recipe.gain.mean == pytest.approx(mean) == pytest.approx(0.22)
    assert recipe.estimates["gain"].within == pytest.approx(within)
    assert recipe.p_value == recipe.gain.p_value < 1e-4


def test_one_run_has_its_own_score_and_exact_test(make_sweep, answer):
    directory = make_sweep([("shots=4", {"p": 0.0123})])
    answer(directory / "0", "base", [True, False, False, False])
    answer(directory / "0", "trained", [True, True, True, False])
    (recipe,) = read_sweep(directory).recipes
    assert recipe.trained is recipe.runs[0].trained
    assert recipe.p_value == 0.0123
    assert recipe.gain.mean == 0.5
    assert recipe.gain.p_value == paired_test([1, 0, 0, 0], [1, 1, 1, 0]).p_value


def test_a_failed_seed_is_left_out(make_sweep, answer):
    directory = three_seeds(make_sweep, answer)
    manifest = directory / "sweep.json"
    text = manifest.read_text()
    manifest.write_text("failed".join(text.rsplit("finished", 1)))
    (directory / "2" / "result.json").unlink()
    (recipe,) = read_sweep(directory).recipes
    assert recipe.trained["accuracies"] == pytest.approx([0.60, 0.62])
    assert recipe.state == "finished, failed"


def test_without_answers_the_mean_has_a_wide_interval_and_no_p(make_sweep):
    jobs = [(f"shots=4 seed={s}", {"trained": 0.5 + 0.01 * s}) for s in (1, 2, 3)]
    (recipe,) = read_sweep(make_sweep(jobs)).recipes
    assert recipe.trained["accuracy"] == pytest.approx(0.52)
    assert recipe.trained["high"] - recipe.trained["low"] > 0.13
    assert recipe.p_value is None

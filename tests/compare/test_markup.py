from rlvr.compare import markup
from rlvr.compare.comparison import read_sweep
from rlvr.compare.table import BEST


def test_markdown(make_sweep, grid):
    lines = markup.markdown(read_sweep(make_sweep(grid))).splitlines()
    assert lines[0] == "## tiny on word_problems (test, n = 200)"
    assert lines[2].startswith("Best is run 0 (shots=2, lr=2e-4): 87.0 %")
    at = lines.index("| run | shots | lr | base % | trained [95 % CI] | points | p | time |")
    assert lines[at + 2].startswith(f"| {BEST} 0 | 2 | 2e-4 | 33.0 | 87.0 [81.6, 91.0] |")


def test_a_bar_in_a_cell_does_not_end_it(make_sweep):
    jobs = [("dataset.name='a|b'", {}), ("dataset.name=c", {})]
    assert r"| a\|b |" in markup.markdown(read_sweep(make_sweep(jobs)))


def test_latex(make_sweep, grid):
    jobs = [*grid, (r"shots=2 trainer.learning_rate=1e-5 dataset.name='x_y&50%~\z'", {})]
    lines = markup.latex(read_sweep(make_sweep(jobs))).splitlines()
    at = lines.index(r"\midrule")
    assert lines[at - 2 : at] == [
        r"\toprule",
        r"run & shots & lr & name & base \% & trained [95 \% CI] & points & p & time \\",
    ]
    assert lines[at + 1].startswith(
        r"$\star$ 0 & 2 & 2e-4 & word\_problems & 33.0 & 87.0 [81.6, 91.0] & +54.0 & $<$0.001"
    )
    assert r"x\_y\&50\%\textasciitilde{}\textbackslash{}z" in lines[at + 5]
    assert lines.count(r"\end{tabular}") == 1

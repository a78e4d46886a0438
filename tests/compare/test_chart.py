"""What is on the charts, read back from matplotlib. How they look was looked at."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from rlvr.compare import chart
from rlvr.compare.comparison import read_sweep


@pytest.fixture
def drawn(make_sweep, tmp_path: Path, monkeypatch):
    """Draw a sweep's chart; returns its figure."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: figures.append(figure))

    def draw(jobs) -> Figure:
        assert chart.draw(read_sweep(make_sweep(jobs)), tmp_path / "chart.png")
        return figures[-1]

    return draw


def legend(figure: Figure) -> list[str]:
    box = figure.axes[0].get_legend() or figure.legends[0]
    return [text.get_text() for text in box.get_texts()]


def bars(figure: Figure, label: str) -> tuple[list[float], list[float], list[float]]:
    """Positions, centres and half widths of one line's error bars."""
    (container,) = [c for c in figure.axes[0].containers if c.get_label() == label]
    line, _, (lines,) = container
    lengths = [segment[1][1] - segment[0][1] for segment in lines.get_segments()]
    return list(line.get_xdata()), list(line.get_ydata()), lengths


def test_accuracy_against_shots(drawn, grid):
    figure = drawn(grid)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "tiny on word_problems (test, n = 200)"
    assert axes.get_ylim() == (0, 100)
    assert legend(figure) == ["base", "lr 2e-4", "lr 1e-3"]
    xs, ys, lengths = bars(figure, "2e-4")
    assert xs == [2, 8]
    assert ys == [87, 71]
    assert lengths == pytest.approx([91.0 - 81.6, 76.8 - 64.4], abs=0.1)
    assert bars(figure, "base")[1] == [33, 21]


def test_bars_at_one_x_stand_side_by_side(drawn, grid):
    figure = drawn(grid)
    places = set()
    for container in figure.axes[0].containers:
        places.add(round(container[0].get_transform().transform((2, 50))[0], 3))
    assert len(places) == 3
    gaps = [right - left for left, right in zip(sorted(places), sorted(places)[1:], strict=False)]
    assert min(gaps) >= 10  # pixels at 150 dpi


def test_learning_rates_are_on_a_logarithmic_axis(drawn):
    rates = ("1e-5", "1e-4", "1e-3")
    figure = drawn([(f"trainer.learning_rate={rate}", {}) for rate in rates])
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "learning rate, logarithmic"
    assert [label.get_text() for label in axes.get_xticklabels()] == list(rates)
    assert legend(figure) == ["base", "trained"]


def test_names_are_not_joined_by_lines(drawn):
    figure = drawn([(f"trainer={name}", {}) for name in ("grpo", "dapo")])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["grpo", "dapo"]
    assert all(line.get_linestyle() == "None" for line in figure.axes[0].lines)


def test_models_have_bases_of_their_own(drawn):
    jobs = [
        (f"shots={n} model={name}", {"base": base})
        for n in (0, 4)
        for name, base in (("a", 0.1), ("b", 0.3))
    ]
    assert legend(drawn(jobs)) == [
        "model a (base)",
        "model b (base)",
        "model a",
        "model b",
    ]


def test_seeds_are_repeats_not_lines(drawn):
    jobs = [
        (f"shots={n} seed={seed}", {"trained": 0.5 + seed / 10})
        for n in (0, 4)
        for seed in (1, 2, 3)
    ]
    figure = drawn(jobs)
    assert legend(figure) == ["base", "trained"]
    joined = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert list(joined[0].get_ydata()) == pytest.approx([70, 70])


def test_failed_runs_are_marked_not_hidden(drawn):
    jobs = [("shots=0", {}), ("shots=4", {}), ("shots=8", {"state": "failed"})]
    figure = drawn(jobs)
    (mark,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([8], [0])
    assert "x: no result" in figure.legends[0].get_title().get_text()


def test_one_run(drawn):
    figure = drawn([("shots=4", {"trained": 0.66})])
    assert bars(figure, "trained")[1] == [66]
    assert bars(figure, "base")[1] == [33]
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["before training", "after training"]
    assert figure.axes[0].get_xlabel() == "shots=4"
    assert [text.get_text() for text in figure.axes[0].texts] == ["33.0", "66.0"]


def test_many_lines_can_be_told_apart(drawn):
    jobs = [(f"shots=4 trainer.beta=0.{n}", {}) for n in range(1, 10)]
    figure = drawn([*jobs, *[(f"shots=8 trainer.beta=0.{n}", {}) for n in range(1, 10)]])
    looks = [(c[0].get_color(), c[0].get_marker()) for c in figure.axes[0].containers]
    assert len(looks) == len(set(looks)) == 10


def test_nothing_to_draw(make_sweep, tmp_path: Path):
    comparison = read_sweep(make_sweep([("shots=0", {"state": "pending"})]))
    assert chart.draw(comparison, tmp_path / "chart.png") is None
    assert not (tmp_path / "chart.png").exists()


def test_the_file_is_a_png_of_the_right_size(make_sweep, grid, tmp_path: Path):
    path = chart.draw(read_sweep(make_sweep(grid)), tmp_path / "chart.png")
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (1200, 750)

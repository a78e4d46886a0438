import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.compare.svg import BOTTOM, HEIGHT, WIDTH, Flag, Line, Point, chart, swatch, ticks

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 6))


@given(st.lists(NUMBERS, min_size=1))
def test_ticks_are_few_ascending_and_around_the_values(values):
    found = ticks(values)
    assert found == sorted(found)
    assert 2 <= len(found) <= 8
    slack = 1e-6 * (1 + max(abs(v) for v in values))
    assert found[0] <= min(values) + slack
    assert found[-1] >= max(values) - slack


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_every_mark_is_inside_the_picture(points):
    drawn = chart(
        [Line("a", 0, [Point(x, y) for x, y in points])], name="c", x_label="x", y_label="y"
    )
    places = re.findall(r'class="mark" transform="translate\((\S+) (\S+)\)"', drawn)
    assert len(places) == len(points)
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in places)


def test_a_chart_is_well_formed_whatever_the_names_hold():
    hostile = '"><script>alert(1)</script>&'
    flags = [Flag(0, hostile, hostile)]
    lines = [Line(hostile, 0, [Point(0, 1, 0.5, 1.5, hostile)], hostile, flags)]
    drawn = chart(lines, name=hostile, x_label=hostile, y_label=hostile, x_names={0: hostile})
    root = ElementTree.fromstring(drawn)
    assert root.attrib["aria-label"].startswith(hostile)
    assert not [e for e in root.iter() if e.tag == "script"]
    ElementTree.fromstring(swatch(lines[0]))


def test_nothing_is_drawn_of_no_points():
    assert chart([Line("a", 0, [])], name="c", x_label="x", y_label="y") == ""


def test_lines_differ_in_more_than_colour():
    lines = [Line("", place, []) for place in (None, *range(14))]
    assert len({(line.colour, line.dashes) for line in lines}) == len(lines)
    assert len({(line.marker, line.dashes) for line in lines}) >= 10


@pytest.mark.parametrize("many", [2, 14])
@pytest.mark.parametrize("height", [0.0, 0.5, 1.0])
def test_labels_at_the_ends_do_not_cover_each_other(many, height):
    lines = [Line("", i, [Point(0, height), Point(1, height)], f"{i}") for i in range(many)]
    lines.append(Line("", 0, [Point(0, 0), Point(1, 1)]))
    drawn = chart(lines, name="c", x_label="x", y_label="y", markers=False)
    places = sorted(float(y) for y in re.findall(r'y="([\d.]+)" class="s\d end"', drawn))
    assert len(places) == many
    assert min(b - a for a, b in itertools.pairwise(places)) >= 11
    assert places[0] >= 0
    assert places[-1] <= HEIGHT - BOTTOM + 11


def test_flags_stand_on_their_line_and_those_close_together_share_a_text():
    flags = [Flag(1, "1", "first"), Flag(1, "2", "second"), Flag(9, "3", "third")]
    line = Line("", 0, [Point(0, 0), Point(1, 5), Point(10, 9)], flags=flags)
    drawn = chart([line], name="c", x_label="x", y_label="y")
    assert re.findall("<title>(\\w+)</title></path><", drawn)[-3:] == ["first", "second", "third"]
    assert re.findall('flagged">▲ ([^<]*)<', drawn) == ["1, 2", "3"]
    many = [Flag(1, f"{i}", "") for i in range(9)]
    drawn = chart([Line("", 0, line.points, flags=many)], name="c", x_label="x", y_label="y")
    assert re.findall('flagged">▲ ([^<]*)<', drawn) == ["0, 1, 2 +6"]


def test_who_cannot_see_a_chart_is_told_the_ends_of_its_lines():
    line = Line("run 3", 0, [Point(1, 2, told="step 1: 2"), Point(9, 4, told="step 9: 4")])
    drawn = chart([line, Line("none", 1, [])], name="Reward", x_label="x", y_label="y")
    assert 'aria-label="Reward. run 3: step 1: 2 to step 9: 4"' in drawn


def test_charts_of_one_span_have_one_scale():
    drawn = [
        chart(
            [Line("", 0, [Point(0, y), Point(1, y)])], name="", x_label="", y_label="", span=(0, 9)
        )
        for y in (1, 8)
    ]
    first, second = (re.findall('class="right">([^<]*)<', one) for one in drawn)
    assert first == second

"""Line charts as inline SVG, drawn in the colours of the page that holds them.

Lines are told apart by colour, by dashes or the shape of their points, and by the label at their
end. Every text goes through `Markup.format`, which escapes it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rlvr.formatting import number

WIDTH, HEIGHT = 460, 290  # user units; narrow, so that text stays readable on a phone
LEFT, RIGHT, TOP, BOTTOM = 54, 34, 16, 44
BUNDLE = 75  # user units that the numbers of flags take
ROOM = 18  # for them, above the lines
COLOURS = 7  # .s0 to .s6 in the page's style sheet, .base beside them
MARKERS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "M-3.6-3.6h7.2v7.2h-7.2z",
    "M0-5 5 0 0 5-5 0z",
    "M0-4.6 4.6 3.6h-9.2z",
    "M0 4.6 4.6-3.6h-9.2z",
)
DASHES = ("none", "7 3", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Point:
    """`low` and `high` are the ends of an error bar; `told` is what a pointer or reader is told."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    told: str = ""


@dataclass(frozen=True)
class Flag:
    """A numbered mark on a line, such as a warning."""

    x: float
    number: str
    told: str


@dataclass(frozen=True)
class Line:
    """`place` chooses colour, dashes and shape; None is the base model's grey."""

    label: str
    place: int | None
    points: Sequence[Point]
    end: str = ""  # written behind the last point
    flags: Sequence[Flag] = ()
    joined: bool = True  # else there are its points alone

    @property
    def colour(self) -> str:
        return "base" if self.place is None else f"s{self.place % COLOURS}"

    @property
    def dashes(self) -> str:
        return DASHES[1 if self.place is None else self.place // COLOURS % len(DASHES)]

    @property
    def marker(self) -> str:
        return MARKERS[0 if self.place is None else self.place % len(MARKERS)]


@dataclass(frozen=True)
class Scale:
    """Values to user units along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def chart(
    lines: Sequence[Line],
    *,
    name: str,
    x_label: str,
    y_label: str,
    x_names: Mapping[float, str] | None = None,
    markers: bool = True,
    span: Sequence[float] = (),
) -> Markup:
    """`x_names` are the ticks of an axis of names; lines stand beside each other over it. The y
    axis holds the values of `span` in any case. A screen reader is told each line's ends.

    Without any point the result is empty.
    """
    points = [point for line in lines for point in line.points]
    if not points:
        return Markup("")
    ys = [*span, *(v for p in points for v in (p.y, p.low, p.high) if v is not None)]
    x_ticks = dict(x_names or {t: number(t) for t in ticks([p.x for p in points])})
    y_ticks = ticks(ys)
    margin = 0.5 if x_names else 0.0
    x = _scale([*x_ticks, *(p.x for p in points)], LEFT, WIDTH - RIGHT, margin)
    top = TOP + ROOM * any(line.flags for line in lines)
    y = _scale([*y_ticks, *ys], HEIGHT - BOTTOM, top, 0.0)
    apart = 7 if x_names else 0
    drawn = [
        _line(line, x, y, apart * (place - (len(lines) - 1) / 2), markers)
        for place, line in enumerate(lines)
    ]
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        WIDTH, HEIGHT, _told(name, lines), _axes(x_ticks, y_ticks, x, y, x_label, y_label),
        _join(drawn), _ends(lines, x, y) + _flags(lines, x, y),
    )  # fmt: skip


def swatch(line: Line, *, markers: bool = True) -> Markup:
    """What a line looks like, for the legend."""
    mark = Markup('<path class="mark" transform="translate(14 7)" d="{}"/>').format(line.marker)
    return Markup(
        '<svg class="swatch {}" viewBox="0 0 28 14" aria-hidden="true">'
        '<path class="line" stroke-dasharray="{}" d="M0 7h28"/>{}</svg>'
    ).format(line.colour, line.dashes, mark if markers else "")


def ticks(values: Iterable[float], count: int = 5) -> list[float]:
    """Round numbers around `values`, about `count` of them, a 1, 2 or 5 apart."""
    found = [*values]
    low, high = min(found), max(found)
    if low == high:
        low, high = low - max(abs(low) / 2, 1e-9), high + max(abs(high) / 2, 1e-9)
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(s * unit for s in (1, 2, 5, 10) if s * unit >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _scale(values: Sequence[float], start: float, end: float, margin: float) -> Scale:
    return Scale(min(values) - margin, max(values) + margin, start, end)


def _axes(
    x_ticks: Mapping[float, str],
    y_ticks: Sequence[float],
    x: Scale,
    y: Scale,
    x_label: str,
    y_label: str,
) -> Markup:
    across = [
        Markup('<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" class="right">{}</text>')
        .format(LEFT, y(tick), WIDTH - RIGHT, LEFT - 6, y(tick) + 4, number(tick))
        for tick in y_ticks
    ]  # fmt: skip
    along = [
        Markup('<text x="{}" y="{}" class="middle">{}</text>')
        .format(x(tick), HEIGHT - BOTTOM + 17, name)
        for tick, name in x_ticks.items()
    ]  # fmt: skip
    titles = Markup(
        '<text x="{}" y="{}" class="middle">{}</text>'
        '<text transform="translate(12 {}) rotate(-90)" class="middle">{}</text>'
    ).format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, (TOP + HEIGHT - BOTTOM) / 2, y_label)
    return _join([*across, *along, titles])


def _line(line: Line, x: Scale, y: Scale, aside: float, markers: bool) -> Markup:
    """The line goes through the mean at each x; bars and points are moved `aside`."""
    means: dict[float, list[float]] = {}
    for point in line.points:
        means.setdefault(point.x, []).append(point.y)
    path = "L".join(
        f"{x(at) + aside:g} {y(sum(ys) / len(ys)):g}" for at, ys in sorted(means.items())
    )
    drawn = Markup('<path class="line" stroke-dasharray="{}" d="M{}"/>').format(line.dashes, path)
    drawn = drawn if line.joined else Markup("")
    if markers or len(means) == 1:
        drawn += _join([_point(line, point, x, y, aside) for point in line.points])
    return Markup('<g class="{}">{}</g>').format(line.colour, drawn)


def _point(line: Line, point: Point, x: Scale, y: Scale, aside: float) -> Markup:
    at, bar = round(x(point.x) + aside, 1), Markup("")
    if point.low is not None and point.high is not None:
        bar = Markup('<path class="bar" d="M{} {}V{}"/>').format(at, y(point.low), y(point.high))
    shape = Markup(
        '<path class="mark" transform="translate({} {})" d="{}"><title>{}</title></path>'
    )
    return bar + shape.format(at, y(point.y), line.marker, point.told or line.label)


def _ends(lines: Sequence[Line], x: Scale, y: Scale) -> Markup:
    """Labels at the lines' ends, pushed apart where they would cover each other."""
    ends = [(line, max(line.points, key=lambda p: p.x)) for line in lines if line.end]
    ends.sort(key=lambda end: -end[1].y)
    heights = _apart([y(last.y) for _, last in ends])
    return _join(
        Markup('<text x="{}" y="{}" class="{} end">{}</text>').format(
            x(last.x) + 6, height + 4, line.colour, line.end
        )
        for (line, last), height in zip(ends, heights, strict=True)
    )


def _apart(heights: Sequence[float]) -> list[float]:
    """Rising heights, each a line of text below the one before, the last within the chart."""
    down, placed = TOP - 11.0, []
    for height in heights:
        down = max(height, down + 11)
        placed.append(down)
    up = HEIGHT - BOTTOM + 11.0
    for place in reversed(range(len(placed))):
        up = placed[place] = min(placed[place], up - 11)
    return [round(height, 1) for height in placed]


def _flags(lines: Sequence[Line], x: Scale, y: Scale) -> Markup:
    """On each line at its last point before the flag, or its first; the numbers above the chart."""
    drawn, numbers = [], []
    flagged = [(line, flag) for line in lines for flag in line.flags]
    for line, flag in flagged:
        before = [p for p in line.points if p.x <= flag.x] or [line.points[0]]
        numbers.append((x(flag.x), flag.number))
        drawn.append(
            Markup(
                '<path class="{} flag" transform="translate({} {})" d="M0-2 6-12H-6z">'
                "<title>{}</title></path>"
            ).format(line.colour, x(flag.x), y(before[-1].y), flag.told)
        )
    texts = (
        Markup('<text x="{}" y="{}" class="middle flagged">▲ {}</text>').format(at, TOP + 1, text)
        for at, text in _bundled(numbers)
    )
    return _join([*drawn, *texts])


def _bundled(numbers: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those that would cover each other in one text, at the first one's place."""
    bundles: list[tuple[float, list[str]]] = []
    for at, one in sorted(numbers, key=lambda flag: flag[0]):
        if not bundles or at - bundles[-1][0] > BUNDLE:
            bundles.append((at, []))
        bundles[-1][1].append(one)
    return [
        (at, ", ".join(found[:3]) + (f" +{len(found) - 3}" if len(found) > 3 else ""))
        for at, found in bundles
    ]


def _told(name: str, lines: Sequence[Line]) -> str:
    """The chart in words, for who cannot see it."""
    ends = ((line, line.points[0].told, line.points[-1].told) for line in lines if line.points)
    parts = [f"{line.label}: {first} to {last}" for line, first, last in ends]
    return ". ".join([name, *parts])


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)

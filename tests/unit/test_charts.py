"""Charts: gaps stay gaps, higher is higher, text is escaped, axes have round numbers."""

import re

import pytest

from bikeshare.core.chart_marks import SHAPES, Mark, mark_svg
from bikeshare.core.charts import (
    MOST_HOVERS,
    NARROW,
    WIDE,
    Area,
    Figure,
    Line,
    Stretch,
    draw,
    figure_html,
    legend,
    share,
    steps,
    whole,
)


def figure(values, **more) -> Figure:
    names = [f"day {position}" for position in range(len(values))]
    return Figure(
        "a <label>", names, [(position, name) for position, name in enumerate(names)], share,
        lines=[Line("served", "ours", values)], **more,
    )


def points(svg: str, kind: str = "ours") -> list[list[tuple[float, float]]]:
    found = re.findall(rf'class="line {kind}" points="([^"]+)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in found]


def test_a_gap_splits_the_line_and_a_lonely_value_is_a_dot() -> None:
    svg = draw(figure([0.1, 0.2, None, 0.3, None, 0.2, 0.1]), WIDE, 300)

    assert [len(line) for line in points(svg)] == [2, 2]
    assert svg.count('<circle class="dot ours"') == 1


@pytest.mark.parametrize(("values", "higher"), [([0.1, 0.4], 1), ([0.4, 0.1], 0)])
def test_a_larger_value_is_drawn_higher(values, higher) -> None:
    (line,) = points(draw(figure(values), WIDE, 300))

    assert line[higher][1] < line[1 - higher][1]


def test_a_value_above_the_ceiling_is_cut_not_followed() -> None:
    (free,) = points(draw(figure([0.1, 4.0]), WIDE, 300))
    (cut,) = points(draw(figure([0.1, 4.0], ceiling=1.0), WIDE, 300))

    assert cut[0][1] < free[0][1], "0.1 stands higher when the axis ends at 1"


def test_an_area_lies_between_its_bounds() -> None:
    with_area = figure([0.2, 0.2], areas=[Area("80 %", "ours", [0.1, None], [0.3, 0.4])])
    polygon = re.search(r'class="area ours" points="([^"]+)"', draw(with_area, WIDE, 300))

    assert polygon is not None
    upper, lower = (float(point.split(",")[1]) for point in polygon[1].split())
    assert upper < lower


def test_two_marks_of_one_day_stand_side_by_side_and_lead_to_their_cards() -> None:
    marks = [Mark(1, "retrain", "asked", "c1"), Mark(1, "rollout", "came <b>", "c2"), Mark(0, "hold", "held")]
    svg = draw(figure([0.1, 0.2], marks=marks), WIDE, 300)
    corners = [re.findall(r"([\d.]+),", found) for found in re.findall(r'class="mark \w+" points="([^"]+)"', svg)]
    places = [sum(map(float, found)) / len(found) for found in corners]

    assert len(places) == len(set(places)) == 3
    assert svg.count('<a href="#c') == 2
    assert "came &lt;b&gt;" in svg


def test_every_kind_of_mark_has_a_shape_of_its_own() -> None:
    """Two colours may look alike to a reader, two shapes may not."""
    drawn = {kind: mark_svg(Mark(0, kind, "t"), 0, 0, 6).replace(kind, "") for kind in (*SHAPES, "message")}

    assert len(set(drawn.values())) == len(drawn) == 6


def test_the_legend_names_each_kind_of_mark_once() -> None:
    marks = [Mark(0, "hold", "a"), Mark(1, "hold", "b"), Mark(1, "rollout", "c")]
    keys = legend(figure([0.1, 0.2], marks=marks), {"hold": "hold", "rollout": "roll-out"}.__getitem__)

    assert re.findall(r"</svg>([^<]+)<", keys) == ["hold", "roll-out"]


def chapters(stretches: list[Stretch], days: int = 10) -> dict[str, tuple[float, float]]:
    svg = draw(figure([0.1] * days, stretches=stretches), WIDE, 300)
    found = re.findall(r'class="chapter" x="([\d.]+)" y="(\d+)">([^<]+)<', svg)
    return {title: (float(x), float(y)) for x, y, title in found}


def test_titles_of_short_neighbours_stand_on_two_rows_and_a_third_one_is_left_to_the_hover() -> None:
    short = [Stretch(f"a title of some length {number}", number, number) for number in range(3)]
    apart = [Stretch(f"a title of some length {number}", 20 * number, 20 * number + 19) for number in range(3)]

    assert [y for _, y in chapters(short, 60).values()] == [27, 12]
    assert [y for _, y in chapters(apart, 60).values()] == [27, 27, 27]


def test_the_title_of_a_stretch_at_the_end_stays_inside() -> None:
    title = "a title that is long"
    ((x, _),) = chapters([Stretch(title, 9, 9)], 10).values()
    ((free, _),) = chapters([Stretch("short", 5, 9)], 10).values()

    assert x + 6 * len(title) < WIDE
    assert x < WIDE - (WIDE - 58) / 10, "moved to the left of its own start"
    assert free > (WIDE - 58) / 2, "where there is room it stands at its start"


def test_titles_of_stretches_are_left_out_where_there_is_no_room() -> None:
    told = figure([0.1, 0.2], stretches=[Stretch("quiet & calm", 0, 1)])

    assert 'class="chapter"' in draw(told, WIDE, 300)
    assert 'class="chapter"' not in draw(told, NARROW, 300)
    assert "quiet &amp; calm" in draw(told, NARROW, 300), "still there for whoever asks"


def test_hover_text_names_every_value_unless_there_are_too_many() -> None:
    few = draw(figure([0.125, None]), WIDE, 300)
    many = draw(figure([0.1] * (MOST_HOVERS + 1)), WIDE, 300)

    assert few.count('class="hit"') == 1
    assert "12.5%" in few
    assert 'class="hit"' not in many


def test_ticks_thin_out_with_the_width() -> None:
    wide, narrow = (draw(figure([0.1] * 40), width, 300) for width in (WIDE, NARROW))

    def below(svg: str) -> int:
        return svg.count('text-anchor="middle"')

    assert 10 <= below(wide) <= 14
    assert 3 <= below(narrow) <= 5


def test_both_widths_or_a_sentence() -> None:
    page = figure_html(figure([0.1]))

    assert 'class="plot wide"' in page
    assert 'class="plot narrow"' in page
    assert "&lt;label&gt;" in page
    assert "\n\n" not in page, "a blank line would end the HTML block in Markdown"
    assert figure_html(figure([]), "Nothing <yet>.") == '<p class="empty">Nothing &lt;yet&gt;.</p>'


def test_the_legend_has_lines_and_areas_with_names_only() -> None:
    keys = legend(figure([0.1], areas=[Area("80 %", "outer", [0.0], [1.0]), Area("", "x", [0.0], [1.0])]))

    assert keys.count('class="key') == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 437, [0, 100, 200, 300, 400]), (-0.3, 0.3, [-0.2, 0, 0.2]),
     (0, 0.004, [0, 0.001, 0.002, 0.003, 0.004]), (5, 5, [5])],
)
def test_axis_values_are_round(low, high, expected) -> None:
    assert steps(low, high, 5) == pytest.approx(expected)


@pytest.mark.parametrize(("value", "text"), [(0.2, "20%"), (0.125, "12.5%"), (-0.05, "-5%")])
def test_shares(value, text) -> None:
    assert share(value) == text


@pytest.mark.parametrize(("value", "text"), [(1234.4, "1,234"), (3.25, "3.2"), (3.0, "3")])
def test_numbers_of_bikes(value, text) -> None:
    assert whole(value) == text

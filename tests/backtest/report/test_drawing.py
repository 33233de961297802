"""Charts as SVG and PNG: whatever is drawn, at any size, with any text."""

from __future__ import annotations

import io
from datetime import date, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from backtest.report.drawing import Sheet
from backtest.report.page import BLUE, PALE, horizon_colors

DAYS = [date(2020, 1, 1) + timedelta(days=i) for i in range(40)]


def texts(sheet: Sheet) -> list[str]:
    """What is written in the chart for wide screens."""
    return [element.text for element in parsed(sheet)[1].iter("text")]


def parsed(sheet: Sheet) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(f"<p>{sheet.svg('chart', 'A chart')}</p>"))


@pytest.mark.parametrize(
    ("dates", "values"),
    [
        (DAYS[:1], [0.1]),
        (DAYS[:2], [0.1, 0.1]),
        (DAYS, [None] * 40),
        (DAYS, [None] * 20 + [1e-9] * 20),
        (DAYS, np.linspace(-1e6, 1e6, 40)),
        ([], []),
    ],
)
def test_thin_and_extreme_values_are_drawn(dates, values):
    sheet = Sheet()
    panel = sheet.panel(100, "Values")
    panel.line(dates, values, BLUE, "line")
    panel.bars(dates, values, PALE, "bars")
    sheet.panel(100, "Shares", unit="%").dots(dates, values, BLUE, "dots")
    for svg in parsed(sheet):
        assert "nan" not in ElementTree.tostring(svg, encoding="unicode").lower()
    assert imread(io.BytesIO(sheet.png("A chart")))[..., :3].std() > 0.01


@pytest.mark.parametrize(
    ("days", "labels"),
    [
        (1, ["2019-12-31", "2020-01-01", "2020-01-02"]),
        (90, ["2020-01", "2020-02", "2020-03"]),
        (365 * 3, ["2020-01", "2020-07", "2021-01", "2021-07", "2022-01", "2022-07"]),
        (365 * 12, [str(year) for year in range(2020, 2032)]),
    ],
)
def test_dates_are_labelled_by_day_month_or_year(days, labels):
    dates = [date(2020, 1, 1) + timedelta(days=i) for i in range(days)]
    sheet = Sheet()
    sheet.panel(100).line(dates, np.arange(days), BLUE)
    shown = [text for text in texts(sheet) if text[:2] == "20"]
    assert [label for label in labels if label not in shown] == []


def test_numbers_have_the_decimals_that_tell_them_apart():
    sheet = Sheet("number", label="Round-trip cost")
    sheet.panel(100, unit="%").line([0, 100], [-0.004, 0.008], BLUE)
    shown = texts(sheet)
    assert {"0.0%", "0.5%", "0", "20", "100", "Round-trip cost"} <= set(shown)
    amounts = Sheet("log")
    amounts.panel(100).line([1e5, 1e10], [0, 1], BLUE)
    assert {"100k", "1M", "100M", "1B", "10B", "2", "5"} <= set(texts(amounts))


def test_any_text_is_shown_and_none_is_markup():
    name = "<b>$x^2$\x01&\udcff"
    sheet = Sheet("number")
    panel = sheet.panel(120, names=[name, "other"])
    panel.dots([0.1, 0.2], [0, 1], BLUE, name)
    panel.dots([0.1, 0.2], [0, 1], PALE, "second")
    shown = "<b>$x^2$\ufffd&\ufffd"
    assert texts(sheet).count(shown) == 2
    assert name[:3] not in sheet.svg("chart", name)
    assert sheet.png(name).startswith(b"\x89PNG")


def test_narrow_screens_get_a_chart_of_their_own():
    sheet = Sheet()
    for color in ("#0072b2", "#d55e00"):
        sheet.panel(100).line(DAYS, np.arange(40), color, f"a long name for the line {color}")
    narrow, wide = parsed(sheet)
    sizes = [list(map(float, svg.get("viewBox").split())) for svg in (narrow, wide)]
    assert sizes[0][2] < 400 < 800 < sizes[1][2]
    for svg, (_, _, width, _) in zip((narrow, wide), sizes, strict=True):
        assert all(0 <= float(text.get("x")) <= width for text in svg.iter("text"))
        assert svg.find("title").text == "A chart"
        assert "from 0 to 39" in svg.find("desc").text


def test_a_sheet_is_drawn_the_same_however_often():
    sheet = Sheet(note="A note.")
    sheet.panel(100, "Values").line(DAYS, np.arange(40), BLUE)
    first, picture = sheet.svg("a", "A chart"), sheet.png("A chart")
    assert (sheet.svg("a", "A chart"), sheet.png("A chart")) == (first, picture)
    assert "A note." not in first  # the page writes it below the chart


def test_horizons_are_told_apart():
    for count in range(1, 14):
        colors = horizon_colors(list(range(count)))
        assert len(set(colors.values())) == count

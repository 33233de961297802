"""The files of a report: names, pictures, leftovers, repeatability; Markdown content."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.image import imread

from backtest.report import ReportData, write_report
from backtest.report.charts import TITLES, draw_charts
from backtest.report.markdown import render_markdown


def pictures(folder):
    return {path.stem: path for path in (folder / "figures").iterdir()}


@pytest.mark.parametrize("name", ["full", "thin", "empty"])
def test_every_chart_of_the_page_has_its_picture(samples, folders, name):
    found = pictures(folders[name])
    charts = draw_charts(samples[name])
    assert list(charts) == [title for title in TITLES if title in charts]
    assert set(found) == set(charts)
    for path in found.values():
        image = imread(path)
        assert min(image.shape[:2]) > 150
        assert image[..., :3].std() > 0.02
        assert not np.isnan(image).any()


@pytest.mark.parametrize("name", ["full", "thin", "empty"])
def test_markdown_links_exactly_the_figures_that_exist(folders, name):
    text = (folders[name] / "report.md").read_text()
    assert set(re.findall(r"\]\(figures/(\w+)\.png\)", text)) == set(pictures(folders[name]))


def test_nothing_else_is_left_in_the_folder(folders):
    names = {path.name for path in folders["full"].iterdir()}
    assert names == {"report.html", "report.md", "figures"}


def test_figures_of_an_earlier_report_are_removed(samples, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "equity.png").write_bytes(b"old")
    write_report(tmp_path, samples["empty"])
    assert pictures(tmp_path) == {}


def test_markdown_has_the_verdict_the_numbers_and_the_reasons(samples, folders):
    text = (folders["full"] / "report.md").read_text()
    m = samples["full"].horizon(20)
    assert text.startswith("# us-daily: No gate passed (1 failed, 2 inconclusive)")
    assert "- ✗ **Practical: FAIL.** Median churn is 0.45, above 0.30." in text
    low, high = m["ci95"]
    assert f"{m['rank_ic_mean']:.3f} \\[{low:.3f}, {high:.3f}\\]" in text
    for heading in (
        "Headline numbers", "Portfolio", "Regimes", "Baselines", "Figures",
        "In the model's training period", "Weights of the last rebalance",
        "Data issues and drops", "Configuration and hashes", "Definitions",
    ):  # fmt: skip
        assert f"\n## {heading}\n" in text


def test_markdown_of_nothing_says_why(folders):
    text = (folders["empty"] / "report.md").read_text()
    assert "not one date could be judged" in text
    assert "fewer names than min\\_cross\\_section" in text


def test_markdown_escapes_hostile_names(folders):
    text = (folders["full"] / "report.md").read_text()
    assert "<script>" not in text
    assert "<b>" not in text
    rows = [line for line in text.splitlines() if "alert" in line]
    assert rows
    assert all(re.sub(r"\\.", "", row).count("|") in (3, 5, 6) for row in rows)


@pytest.mark.parametrize("name", ["full", "thin", "empty"])
def test_markdown_is_repeatable(samples, folders, name):
    figures = [n for n in TITLES if n in pictures(folders[name])]
    text = render_markdown(samples[name], figures=figures)
    assert text == (folders[name] / "report.md").read_text()


def test_bare_inputs_are_enough(tmp_path, rules):
    bare = ReportData(metrics={}, gates={}, manifest={}, config={}, rules=rules)
    write_report(tmp_path, bare)
    assert "No gate was judged." in (tmp_path / "report.html").read_text()


def test_frame_without_a_column_is_refused(samples, replaced):
    broken = samples["full"].ic.drop("rank_ic")
    with pytest.raises(ValueError, match=r"'ic' lacks column\(s\) rank_ic"):
        replaced(samples["full"], ic=broken)


def test_what_strategies_add_is_in_page_and_text(folders):
    for name in ("report.md", "report.html"):
        text = (folders["full"] / name).read_text()
        for words in ("Walk-forward selection", "quantile 0.1 (unjudged)", "Attribution", "By leg",
                      "Trading the forecast bar", "fitted ahead and in hindsight"):  # fmt: skip
            assert words in text, (name, words)
        # The hindsight figure never stands without the other one above it.
        assert text.count("17.17%") == 1 or text.count("17.2%") == 1
        assert text.index("In sample") > text.rindex("Out of sample", 0, text.index("In sample"))
        other = (folders["thin"] / name).read_text()
        assert "Walk-forward selection" not in other
        assert "Trading the forecast bar" not in other

"""report.html: self-contained, complete, true to the metrics, safe against hostile names."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from backtest.report.formatting import bps, count, decimal, interval, number, percent, share
from backtest.report.html import render_html

LIMIT = 1_000_000
SECTIONS = [
    "verdict", "headline", "portfolio", "signal", "costs", "regimes", "baselines", "training",
    "weights", "data", "configuration", "definitions",
]  # fmt: skip
FORMATS = {
    "rank_ic_mean": decimal, "hac_t": number(2), "icir": number(2), "rank_ic_headline": decimal,
    "positive_share": share, "rank_ic_next_open": decimal, "n_dates": count,
    "n_names_median": count, "excess_mean": percent, "net_excess_mean": percent,
    "cost_survival": share, "breakeven_bps": bps, "churn_median": share, "redundancy": decimal,
}  # fmt: skip
INTERVALS = {
    "rank_ic_mean": "ci95", "rank_ic_next_open": "rank_ic_next_open_ci95",
    "net_excess_mean": "net_excess_ci95", "redundancy": "redundancy_ci95",
}  # fmt: skip


class Page(HTMLParser):
    """Elements, visible text, chart ids and the cells of each numbers table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.cells: dict[tuple[str, str, str], str] = {}
        self.text = ""
        self._table, self._cell, self._skip = "", None, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.loads += [v for k, v in found.items() if k in ("src", "href", "srcset", "action")]
        self._table = found.get("data-table", self._table)
        if "id" in found:
            self.ids.append(found["id"])
        if "data-key" in found:
            self._cell = (self._table, found["data-key"], found.get("data-horizon", ""))
        self._skip = tag in ("style", "title", "desc")

    def handle_endtag(self, tag):
        if tag in ("td", "dd"):
            self._cell = None
        self._skip = False

    def handle_data(self, data):
        if self._skip:
            return
        self.text += data
        if self._cell:
            self.cells[self._cell] = f"{self.cells.get(self._cell, '')} {data}".strip()


@pytest.fixture(scope="module")
def pages(folders) -> dict[str, Page]:
    return {name: Page((folder / "report.html").read_text()) for name, folder in folders.items()}


@pytest.mark.parametrize("name", ["full", "thin", "empty"])
def test_page_is_self_contained_and_complete(folders, pages, name):
    page, path = pages[name], folders[name] / "report.html"
    assert path.stat().st_size <= LIMIT
    assert [load for load in page.loads if not load.startswith("#")] == []
    loading = {"link", "img", "image", "iframe", "object", "embed", "base", "script"}
    assert not loading & set(page.tags)
    text = path.read_text()
    assert "default-src 'none'; style-src 'unsafe-inline'\"" in text
    assert "://" not in text
    assert [section for section in SECTIONS if section not in page.ids] == []


@pytest.mark.parametrize(
    ("name", "block"), [("full", "headline"), ("full", "training"), ("thin", "headline")]
)
def test_headline_table_equals_the_metrics(samples, pages, name, block):
    data = samples[name]
    for horizon in data.horizons:
        metrics = data.horizon(horizon, in_training=block == "training")
        for key, formatter in FORMATS.items():
            shown = pages[name].cells[block, key, str(horizon)]
            bounds = interval(metrics.get(INTERVALS.get(key, "")), formatter)
            if metrics[key] is None:
                assert shown.startswith("n/a")
            else:
                assert shown == f"{formatter(metrics[key])} {bounds}".strip()


def test_portfolio_numbers_equal_the_metrics(samples, pages):
    portfolio = samples["full"].metrics["portfolio"]
    cells = pages["full"].cells
    assert cells["portfolio", "return_annual_net", ""] == "5.13%"
    assert cells["portfolio", "sharpe_net", ""] == f"{portfolio['sharpe_net']:.2f}"
    assert cells["portfolio", "n_trades", ""] == "4,310"
    shown = {key for table, key, _ in cells if table == "portfolio"}
    assert shown == set(portfolio) - {"strategy", "first_date", "last_date", "return_total_gross"}


def test_gate_cards_carry_verdict_reason_and_deciding_numbers(pages):
    text = re.sub(r"\s+", " ", pages["full"].text)
    assert "No gate passed (1 failed, 2 inconclusive)" in text
    for words in (
        "✗ FAIL", "? INCONCLUSIVE", "No baseline in the run.", "Median churn is 0.45, above 0.30.",
        "RankIC ≥ 0.02 at 5 sessions: 0.0199 [-0.010, 0.050]", "on at least 2 horizons: 1",
    ):  # fmt: skip
        assert words.replace(" ", "") in text.replace(" ", "")


def test_empty_page_says_why(pages):
    text = pages["empty"].text
    assert "not one date could be judged" in text
    assert "fewer names than min_cross_section" in text
    assert "No date could be judged." in text
    assert not [i for i in pages["empty"].ids if i.startswith("chart-")]


def test_page_without_dates_outside_training_says_so(samples, replaced):
    full = samples["full"]
    metrics = full.metrics | {
        "horizons": {}, "portfolio": None, "regimes": [], "baselines": {}, "drops": {},
    }  # fmt: skip
    frames = {
        name: getattr(full, name).filter(getattr(full, name)["in_training"])
        for name in ("ic", "returns", "churn", "net_excess", "quantiles")
    } | {"attribution": full.attribution.clear()}
    page = Page(render_html(replaced(full, metrics=metrics, **frames)))
    assert "lie in the model's training period" in page.text
    assert {i for i in page.ids if i.startswith("chart-")} == {
        "chart-training_rank_ic_by_horizon",
        "chart-training_equity",
    }


def test_training_period_stands_apart(pages):
    assert "Nothing in this section counts." in pages["full"].text
    assert "No scored date lies in the model's training period." in pages["thin"].text


def test_drops_weights_and_settings_are_listed(pages):
    text = pages["full"].text
    for words in (
        "window shorter than the lookback", "412", "high 10.1 < low 10.4", "15 long",
        "scoring.sampling.paths", "model_hash", "b6" * 32, "packages.torch",
    ):  # fmt: skip
        assert words in text


def test_hostile_names_are_escaped(samples, hostile, replaced):
    full = samples["full"]
    metrics = full.metrics | {
        "run": full.metrics["run"] | {"name": hostile, "model": hostile, "benchmark": hostile},
        "baselines": {hostile: full.metrics["baselines"]["momentum_12m"]},
        "drops": {hostile: 1},
    }
    gates = {"gates": [{"name": hostile, "verdict": "FAIL", "reasons": [hostile]}]}
    manifest = {hostile: hostile}
    text = render_html(replaced(full, metrics=metrics, gates=gates, manifest=manifest))
    assert "<script" not in text
    assert "<b>bars</b>" not in text
    assert hostile in Page(text).text


@pytest.mark.parametrize("name", ["full", "thin", "empty"])
def test_same_data_give_the_same_bytes(samples, folders, name):
    assert render_html(samples[name]).encode() == (folders[name] / "report.html").read_bytes()


@pytest.mark.parametrize("name", ["full", "thin"])
def test_charts_have_names_and_no_two_elements_one_id(folders, pages, name):
    text = (folders[name] / "report.html").read_text()
    ids = pages[name].ids
    assert len(ids) == len(set(ids))
    referred = re.findall(r'(?:href="#|url\(#)([^")]+)|aria-labelledby="([^"]+)"', text)
    for target in {part for pair in referred for word in pair for part in word.split()}:
        assert target in ids
    drawn = re.findall(r"<svg ([^>]*)>(<title[^>]*>[^<]+</title><desc[^>]*>[^<]+</desc>)", text)
    assert len(drawn) == text.count("<svg ") == 2 * text.count('class="chart"')
    assert all('role="img"' in attributes for attributes, _ in drawn)


def test_charts_take_their_colours_from_the_page(folders):
    text = (folders["full"] / "report.html").read_text()
    charts = "".join(re.findall(r"<svg .*?</svg>", text, re.S))
    named = re.findall(r"var\(--(\w+),(#[0-9a-f]{6})\)", charts)
    assert len(named) == len(re.findall(r"#[0-9a-f]{6}", charts))
    style = text[: text.index("</style>")]
    light, dark = style.split("prefers-color-scheme:dark", 1)
    for name, color in set(named):
        assert f"--{name}:{color};" in light
        assert f"--{name}:#" in dark


def test_text_in_charts_is_text(folders):
    text = (folders["full"] / "report.html").read_text()
    chart = re.search(r'id="chart-regimes">(.*?)</div>', text, re.S)[1]
    for words in ("volatility: low", "trend: bear", "20 sessions", "Mean RankIC"):
        assert chart.count(f">{words}</text>") == 2
    assert "font-family" not in chart
    assert "DejaVu" not in text

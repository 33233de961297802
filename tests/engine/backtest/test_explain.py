"""The walk through the gates: what it says follows the rules that judged the run."""

from __future__ import annotations

import contextlib
import html
import io
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from places import ROOT

from backtest.gates.rules import GateRules, parse_gate_rules
from backtest.report.glossary import glossary
from engine.backtest.__main__ import main

SHIPPED = yaml.safe_load((ROOT / "configs" / "gates.yaml").read_text())
CHANGED = {
    "sample": {"names": 13, "dates": 7},
    "regimes": {"min_dates": 17, "min_names": 19},
    "factor": {"rank_ic": 0.417, "horizons": 4, "redundancy": 0.613},
    "ml": {
        "rank_ic": 0.833,
        "floor": 0.471,
        "baseline_gap": 0.057,
        "horizons": 3,
        "reference": {5: 0.3141},
    },
    "practical": {"churn": 0.37, "cost_survival": 0.43, "net_excess": 0.0123},
}


def numbers(rules: GateRules) -> list[str]:
    """What a text says that names every number of the rules, one phrase a number."""
    factor, ml, practical = rules.factor, rules.ml, rules.practical
    return [
        f"RankIC ≥ {factor.rank_ic:g} on at least {factor.horizons} horizons",
        f"at least {factor.rank_ic:g} on at least {factor.horizons} of the horizons",
        f"|redundancy| < {factor.redundancy:g} at",
        f"|redundancy| below {factor.redundancy:g}.",
        f"On at least {ml.horizons} of the horizons",
        f"min({ml.rank_ic:g}, max({ml.floor:g}, LightGBM − {ml.baseline_gap:g}))",
        f"median churn ≤ {practical.churn:.2f}",
        f"median churn at most {practical.churn:g},",
        f"cost survival ≥ {practical.cost_survival:.0%} at",
        f"cost survival at least {practical.cost_survival:g} and",
        f"mean net excess > {practical.net_excess:g} at",
        f"mean net excess above {practical.net_excess:g};",
        f"fewer than {rules.sample.names} names or {rules.sample.dates} judged dates",
    ]


def numbers_of_regimes(rules: GateRules) -> str:
    return f"fewer than {rules.regimes.min_dates} dates or {rules.regimes.min_names} names"


def read(path: Path) -> str:
    """A page or Markdown file as plain text on one line."""
    text = path.read_text()
    if path.suffix == ".html":
        text = html.unescape(re.sub(r"<[^>]+>", "", text))
    else:
        text = html.unescape(re.sub(r"\\(.)", r"\1", text))
    return re.sub(r"\s+", " ", text)


@pytest.fixture(scope="module")
def judged(prices, tmp_path_factory) -> tuple[Path, str]:
    """The folder of a run under changed rules, and what --explain said."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "gates.yaml").write_text(yaml.safe_dump(CHANGED))
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = main(
            [
                *("--data.source", "parquet", "--data.path", str(prices)),
                *("--data.benchmark", "IDX", "--model.name", "momentum"),
                *("--run.dir", str(folder), "--run.name", "run", "--explain"),
                *("--evaluation.gates", str(folder / "gates.yaml")),
                *("--evaluation.start", "2018-01-01", "--baselines.lightgbm.enabled", "false"),
            ]
        )
    assert code == 0
    return folder / "run", said.getvalue()


@pytest.fixture
def copied(judged, tmp_path) -> tuple[Path, Path]:
    """A copy of that run and of its rules, to be changed: run folder, rules file."""
    folder, file = tmp_path / "run", tmp_path / "gates.yaml"
    shutil.copytree(judged[0], folder)
    file.write_text(yaml.safe_dump(CHANGED))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["evaluation"]["gates"] = str(file)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder, file


@pytest.mark.long
def test_every_text_names_the_rules_that_judged_and_no_others(judged, capsys):
    folder, said = judged
    ours, shipped = parse_gate_rules(CHANGED), parse_gate_rules(SHIPPED)
    assert main(["explain", str(folder)]) == 0
    later = capsys.readouterr().out
    assert "note:" not in later
    texts = {"--explain": re.sub(r"\s+", " ", said), "explain": re.sub(r"\s+", " ", later)}
    texts |= {name: read(folder / name) for name in ("report.html", "report.md")}
    for name, text in texts.items():
        assert [phrase for phrase in numbers(ours) if phrase not in text] == [], name
        assert [phrase for phrase in numbers(shipped) if phrase in text] == [], name
    for name in ("report.html", "report.md"):
        assert numbers_of_regimes(ours) in texts[name]
        assert numbers_of_regimes(shipped) not in texts[name]
        assert "ml.reference.5" in texts[name]
        assert "reference.20" not in texts[name]


def test_a_finished_run_keeps_its_rules_when_the_file_changes(copied, capsys):
    folder, file = copied
    file.write_text(yaml.safe_dump(SHIPPED))
    assert main(["explain", str(folder)]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "has changed since; below are the rules of the run" in said
    assert "min(0.833, max(0.471, LightGBM − 0.057))" in said
    file.unlink()
    assert main(["explain", str(folder)]) == 0
    assert "min(0.833, max(0.471, LightGBM − 0.057))" in capsys.readouterr().out


def test_a_run_that_recorded_no_rules_is_given_none(copied, capsys):
    folder, _ = copied
    manifest = json.loads((folder / "manifest.json").read_text())
    recorded = manifest.pop("gate_rules")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["explain", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "did not record its gate rules" in said
    assert "|redundancy| < 0.613 at 5 sessions" in said  # the condition's own name
    assert "LightGBM −" not in said
    recorded["factor"]["rank_ic"] = "high"
    (folder / "manifest.json").write_text(json.dumps({**manifest, "gate_rules": recorded}))
    assert main(["explain", str(folder)]) == 2
    assert "factor.rank_ic" in capsys.readouterr().err


def test_the_documentation_names_the_rules_that_ship():
    text = (ROOT / "docs" / "verdict.md").read_text()
    rules = parse_gate_rules(SHIPPED)
    terms = glossary(rules)
    sentences = [terms[f"{gate} gate"] for gate in ("Factor", "ML", "Practical")]
    sentences += [terms["Verdict"].rpartition("PASS. ")[2], numbers_of_regimes(rules)]
    assert [sentence for sentence in sentences if sentence not in text] == []

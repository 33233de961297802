"""Ray clusters as users meet them: nodes without our files, and jobs submitted to a head node."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import date
from pathlib import Path

import pytest
import yaml
from places import ROOT
from rich.console import Console

from engine.config import load_settings
from engine.config.settings import ModelSettings, ScoringSettings
from engine.data.market import Market
from engine.forecasters.kronos import KronosSpec
from engine.scoring.cluster import shut_out_others
from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.score import score_market

MODEL = ROOT / "tests" / "data" / "kronos" / "learned"
BIN = Path(sys.executable).parent
ASOFS = [date(2020, 6, 30), date(2020, 9, 30), date(2020, 10, 30)]


@pytest.mark.slow
@pytest.mark.usefixtures("no_ray")
def test_nodes_without_the_checkpoint_score_the_same(bars, calendar, tmp_path, monkeypatch):
    """Two nodes; the checkpoint's folder is gone by the time that actors look for it."""
    shut_out_others()
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    import ray
    from ray.cluster_utils import Cluster

    def spec(folder: Path, address: str | None) -> KronosSpec:
        model = ModelSettings(name=str(folder), device="cpu", profile="exact")
        return KronosSpec.from_settings(model, settings(address))

    def settings(address: str | None) -> ScoringSettings:
        return ScoringSettings(
            lookback=32,
            horizons=[5],
            batch_size=16,
            actors=2,
            sampling={"paths": 2},
            ray_address=address,
        )

    def score(forecaster: KronosSpec, address: str):
        return score_market(
            Market.from_bars(bars, calendar), ASOFS, spec=forecaster, scoring=settings(address),
            seed=0, shards=tmp_path / "there", console=Console(quiet=True),
        ).scores  # fmt: skip

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        folder = Path(shutil.copytree(MODEL, tmp_path / "checkpoint"))
        sent = pickle.loads(pickle.dumps(spec(folder, cluster.address)))
        shutil.rmtree(folder)
        there = score(sent, cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert there["status"].unique().to_list() == ["ok"]
    assert (tmp_path / "cache" / "kronos" / "checkpoints").is_dir()
    assert there["score"].to_list() == scores_without_ray(spec(MODEL, None), bars, calendar)


def scores_without_ray(spec: KronosSpec, bars, calendar) -> list[float]:
    """Scores at horizon 5 by (asof, ticker), all windows in one forward."""
    prices = PriceArray.from_bars(bars)
    plan = plan_windows(prices, calendar, ASOFS, lookback=32, steps=5, seed=0)
    (shard,) = cut_shards(plan, plan.planned, 100)
    frame = spec.build(1).score(shard.panel(prices, 32), shard.asof(prices))
    return frame.filter(step=5).sort("asof", "ticker")["terminal_score"].to_list()


@pytest.fixture
def head(tmp_path):
    """A head node with its job server, as `ray start` makes one; its address and environment."""
    ports = free_ports(5)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    environment.pop("PYTHONPATH", None)
    # Sockets live in this folder, and their paths must be short.
    with tempfile.TemporaryDirectory(
        prefix="ray",
        dir="/tmp",
        ignore_cleanup_errors=True,  # its daemons may outlive it a little
    ) as temporary:
        command = [
            *(str(BIN / "ray"), "start", "--head", "--block", "--num-cpus", "2"),
            *(
                "--port",
                ports[0],
                "--dashboard-port",
                ports[1],
                "--ray-client-server-port",
                ports[2],
            ),
            *("--dashboard-agent-listen-port", ports[3], "--dashboard-agent-grpc-port", ports[4]),
            *(
                "--node-ip-address",
                "127.0.0.1",
                "--include-dashboard",
                "true",
                "--temp-dir",
                temporary,
            ),
            *("--object-store-memory", "100000000"),
        ]
        log = (tmp_path / "head.log").open("w")
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
        address = f"http://127.0.0.1:{ports[1]}"
        try:
            wait_for(f"{address}/api/jobs/", process, tmp_path / "head.log")
            yield address, environment
        finally:
            process.terminate()
            process.wait(60)
            log.close()


def free_ports(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"no job server: {log.read_text()}")


@pytest.mark.slow
def test_a_job_submitted_to_a_head_node_does_the_whole_run(head, tmp_path):
    """`ray job submit --working-dir .`: the code travels, the results stay where --run.dir says."""
    address, environment = head
    command = [
        *(
            str(BIN / "ray"),
            "job",
            "submit",
            "--address",
            address,
            "--working-dir",
            str(ROOT),
            "--",
        ),
        *("python", "-m", "engine.backtest", "--config", "configs/full.yaml"),
        *("--model.name", "kronos-nano", "--scoring.gpus_per_actor", "0", "--scoring.actors", "2"),
        *(
            "--scoring.cpus_per_actor",
            "1",
            "--scoring.batch_size",
            "16",
            "--scoring.lookback",
            "64",
        ),
        *(
            "--scoring.horizons",
            "5",
            "--scoring.rebalance",
            "monthly",
            "--evaluation.max_dates",
            "3",
        ),
        *("--run.dir", str(tmp_path / "runs")),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "runs" / "full" / "manifest.json").read_text())
    assert manifest["windows_computed"] == manifest["windows_planned"] == 15
    assert re.search(r"Job .* succeeded", done.stdout)


def test_the_example_cluster_fits_the_full_preset():
    cluster = yaml.safe_load((ROOT / "configs" / "cluster" / "kuberay.yaml").read_text())
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    pinned = re.search(
        r"^ray(?:\[.*\])?==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
    assert spec["rayVersion"] == pinned.group(1)
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = spec["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    (container,) = workers["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert limits == container["resources"]["requests"]
    scoring = load_settings(config="full.yaml", environment={}).scoring
    assert int(limits["nvidia.com/gpu"]) >= scoring.actors * scoring.gpus_per_actor
    assert int(limits["cpu"]) >= scoring.actors * scoring.cpus_per_actor


@pytest.mark.parametrize(
    ("name", "dates", "horizons"),
    [("micro", 3, [20]), ("smoke", 63, [20, 60, 90]), ("full", None, [20, 60, 90])],
)
def test_presets_are_what_they_are_called(name, dates, horizons):
    settings = load_settings(config=f"{name}.yaml", environment={})
    assert settings.run.name == name
    assert settings.evaluation.max_dates == dates
    assert settings.scoring.horizons == horizons
    assert settings.data.max_tickers == (20 if name == "micro" else None)
    assert settings.scoring.rebalance == ("monthly" if name == "micro" else "daily")

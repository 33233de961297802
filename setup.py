"""What pyproject.toml cannot say: `configs/` of the root travels as data of the engine."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(
            include=["engine*", "kronos*", "strategies*", "backtest*"],
            exclude=["engine.bench.private*"],
        ),
        "engine.configs",
    ],
    package_dir={"engine.configs": "configs"},
)

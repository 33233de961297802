"""The configuration tree: every setting, its type, its default and its rule."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from engine.config.data import ColumnSettings, DataSettings
from engine.config.live import LiveSettings
from engine.config.section import Count, NonNegative, Positive, Section

__all__ = [
    "BaselineSettings",
    "ColumnSettings",
    "CostSettings",
    "DataSettings",
    "EntrySettings",
    "EvaluationSettings",
    "LightGBMSettings",
    "ModelSettings",
    "RunSettings",
    "SamplingSettings",
    "SanitySettings",
    "ScoringSettings",
    "SelectionSettings",
    "Settings",
    "SimulationSettings",
    "StrategySettings",
]


class RunSettings(Section):
    """Where results go, and the seed of everything random."""

    name: str = "backtest"
    dir: Path = Path("runs")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @field_validator("name")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        if not name or name in {".", ".."} or set(name) & set('/\\\0:*?"<>|'):
            raise ValueError("must be a plain folder name")
        return name


class ModelSettings(Section):
    """Which forecaster scores the windows."""

    name: str = "kronos-nano"
    tokenizer: str | None = None
    revision: str | None = None
    device: str = "auto"
    profile: Literal["exact", "fast"] = "fast"
    kernel: Literal["auto", "stock", "onednn", "native"] = "auto"
    max_context: Annotated[int, Field(ge=2)] | None = None
    trained_until: date | None = None
    dependency_rope: Literal["exact", "trained"] = "exact"
    repair: bool = False

    @model_validator(mode="after")
    def _repair_is_not_exact(self) -> ModelSettings:
        if self.repair and self.profile == "exact":
            raise ValueError("model.repair changes published results; use model.profile fast")
        return self

    @model_validator(mode="after")
    def _kernels_are_of_the_fast_profile(self) -> ModelSettings:
        if self.kernel != "auto" and self.profile == "exact":
            raise ValueError("model.kernel is for model.profile fast; exact has no choice of one")
        return self

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if device.split(":")[0] not in {"auto", "cpu", "cuda", "mps"}:
            raise ValueError("must be auto, cpu, cuda or mps")
        return device


class SamplingSettings(Section):
    """How tokens are drawn. temperature 0 is greedy."""

    temperature: NonNegative = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    paths: Count = 1


class ScoringSettings(Section):
    """Windows of bars to forecasts, on Ray."""

    lookback: Annotated[int, Field(ge=2)] = 128
    horizons: list[Count] = [5, 10, 20]
    rebalance: Literal["daily", "weekly", "monthly"] = "monthly"
    score: Literal["terminal", "path_mean"] = "terminal"
    sampling: SamplingSettings = SamplingSettings()
    batch_size: Annotated[int, Field(ge=16)] = 32
    actors: Count | None = None
    cpus_per_actor: Count = 1
    gpus_per_actor: NonNegative = 0.0
    timeout_s: Positive = 600.0
    start_timeout_s: Positive = 600.0
    max_retries: Annotated[int, Field(ge=0)] = 2
    ray_address: str | None = None
    shards: str | None = None
    cache: str | None = None
    cache_gb: NonNegative = 10.0

    @field_validator("cache", mode="before")
    @classmethod
    def _off(cls, cache: Any) -> Any:
        return "off" if cache is False else cache  # YAML reads a bare off as false

    @field_validator("horizons")
    @classmethod
    def _distinct(cls, horizons: list[int]) -> list[int]:
        if not horizons:
            raise ValueError("needs at least one horizon")
        if len(set(horizons)) < len(horizons):
            raise ValueError("names a horizon twice")
        return sorted(horizons)


class StrategySettings(BaseModel):
    """A strategy's name and its own parameters (checked against the strategy itself).

    `grid` maps parameters to the values among which each fold's are chosen on the past.
    `since` is where signals begin to replay the rebalances of a strategy with a memory.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "long_short_quantile"
    grid: dict[str, list[Any]] = {}
    since: date | None = None

    @field_validator("grid")
    @classmethod
    def _values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in grid.items():
            if not values:
                raise ValueError(f"{key} needs at least one value")
        return grid

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters given besides `name`, `grid` and `since`."""
        return dict(self.model_extra or {})


class SelectionSettings(Section):
    """How a fold's point of `strategy.grid` is chosen."""

    fold: Literal["month", "quarter", "year"] = "year"
    min_sessions: Annotated[int, Field(ge=2)] = 252
    window: Annotated[int, Field(ge=2)] | None = None


class EntrySettings(Section):
    """Trading the forecast bar for one session: strategies, and what MaxDiff is fitted among."""

    strategies: list[
        Literal["simple", "all_signals", "entry_takeprofit", "highlow", "maxdiff"]
    ] = []
    offsets: list[Annotated[float, Field(gt=-1, lt=1)]] = [-0.01, -0.005, 0.0, 0.005, 0.01]
    by_ticker: bool = False
    min_trades: Count = 100

    @field_validator("offsets")
    @classmethod
    def _some(cls, offsets: list[float]) -> list[float]:
        if not offsets:
            raise ValueError("needs at least one offset")
        return offsets


class SimulationSettings(Section):
    """What the simulated broker and exchange allow."""

    lot_size: NonNegative = 0.0
    delisted_after: Count = 10


class CostSettings(Section):
    """What trading costs, in basis points of the traded value."""

    round_trip_bps: NonNegative = 10.0
    impact_coefficient: NonNegative = 50.0
    borrow_bps_per_year: NonNegative = 50.0
    aum: Positive = 1_000_000.0


class SanitySettings(Section):
    """When scores are too strange to be forecasts: a warning, never a verdict."""

    max_move: Positive = 0.25
    min_dispersion: NonNegative = 1e-5
    max_one_sign: Annotated[float, Field(gt=0.5, le=1)] = 0.95


class EvaluationSettings(Section):
    """Which decision dates are judged, and by which rules."""

    start: date | None = None
    end: date | None = None
    max_dates: Count | None = None
    folds: Literal["monthly"] = "monthly"
    embargo_sessions: Annotated[int, Field(ge=0)] | None = None
    min_cross_section: Annotated[int, Field(ge=2)] = 10
    top_k: Count = 10
    trials: Count = 1
    gates: Path = Path("gates.yaml")
    sanity: SanitySettings = SanitySettings()

    @model_validator(mode="after")
    def _ordered(self) -> EvaluationSettings:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"evaluation.start {self.start} is after evaluation.end {self.end}")
        return self


class LightGBMSettings(Section):
    """The baseline of gate 2: how it is trained. LightGBM's own names where they are its own."""

    enabled: bool = True
    train_rebalance: Literal["daily", "weekly", "monthly"] = "weekly"
    refit: Literal["monthly", "yearly"] = "monthly"
    half_life_sessions: Positive = 756.0
    min_train_rows: Count = 2000
    num_iterations: Count = 100
    learning_rate: Positive = 0.05
    num_leaves: Annotated[int, Field(ge=2)] = 15
    min_data_in_leaf: Count = 200
    feature_fraction: Annotated[float, Field(gt=0, le=1)] = 0.7
    bagging_fraction: Annotated[float, Field(gt=0, le=1)] = 0.7
    bagging_freq: Annotated[int, Field(ge=0)] = 1
    lambda_l2: NonNegative = 1.0


class BaselineSettings(Section):
    """What the score is compared with, besides momentum, reversal and persistence."""

    lightgbm: LightGBMSettings = LightGBMSettings()


class Settings(BaseSettings):
    """The whole tree. Built by `engine.config.load`, which merges flags, environment and file."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, validate_default=True)

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    scoring: ScoringSettings = ScoringSettings()
    features: list[str] = [
        "momentum_1m",
        "momentum_3m",
        "momentum_6m",
        "momentum_12m",
        "momentum_12_1",
        "reversal_5",
        "volatility_20",
        "volatility_60",
        "vol_of_vol_60",
        "drawdown_60",
        "adv_20",
        "adv_60",
        "amihud_60",
        "beta_252",
    ]
    strategy: StrategySettings = StrategySettings()
    selection: SelectionSettings = SelectionSettings()
    entry: EntrySettings = EntrySettings()
    simulation: SimulationSettings = SimulationSettings()
    costs: CostSettings = CostSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    baselines: BaselineSettings = BaselineSettings()
    live: LiveSettings = LiveSettings()

    @property
    def embargo_sessions(self) -> int:
        """`evaluation.embargo_sessions`, by default the longest horizon."""
        given = self.evaluation.embargo_sessions
        return max(self.scoring.horizons) if given is None else given

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `engine.config.load` passes: it reads flags, environment and file itself,
        because their unknown keys and text values must be handled alike."""
        return (init_settings,)

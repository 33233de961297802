"""The configuration tree of training: every setting, its type, its default and its rule."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from engine.config.section import Section
from engine.config.settings import DataSettings, RunSettings, SamplingSettings

__all__ = ["NetworkSettings", "SpanSettings", "SplitSettings", "StageSettings", "TrainSettings"]

PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class TrainRunSettings(RunSettings):
    """Where the run folder is, and the seed of everything random."""

    name: str = "train"


class SpanSettings(Section):
    """Sessions from start to end, both inclusive; null leaves that side to the other spans."""

    start: date | None = None
    end: date | None = None

    @model_validator(mode="after")
    def _ordered(self) -> SpanSettings:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self


class SplitSettings(Section):
    """What weights are fitted on, what they are chosen by, and what neither has seen.

    Between two spans lies a gap of at least a window's bars. A null validation.start is the first
    time after that gap; without any date of test there is no test.
    """

    training: SpanSettings = SpanSettings()
    validation: SpanSettings = SpanSettings()
    test: SpanSettings = SpanSettings()


class WindowSettings(Section):
    """How windows are cut: bars, the part whose statistics normalise them, and the clip."""

    length: Annotated[int, Field(ge=4)] = 160
    shortest_context: Annotated[int, Field(ge=2)] = 48
    longest_context: Annotated[int, Field(ge=2)] = 136
    clip: Positive = 5.0

    @model_validator(mode="after")
    def _ordered(self) -> WindowSettings:
        if not self.shortest_context <= self.longest_context < self.length:
            raise ValueError(
                f"shortest_context {self.shortest_context} ≤ longest_context "
                f"{self.longest_context} < length {self.length} must hold"
            )
        return self

    def arguments(self) -> dict[str, Any]:
        """Those of `kronos.training.WindowRules`."""
        return {
            "length": self.length,
            "context": (self.shortest_context, self.longest_context),
            "clip": self.clip,
        }


class NetworkSettings(Section):
    """A network: the checkpoint it starts from, or null for random weights, and its shape.

    With a base the shape is the base's; a shape that is written and differs is an error.
    """

    base: str | None = None
    revision: str | None = None

    def shape(self) -> dict[str, Any]:
        """The arguments of its `config.json`."""
        return self.model_dump(exclude={"base", "revision", "max_context"})

    def written(self) -> dict[str, Any]:
        """The part of the shape that somebody wrote, in a file, the environment or a flag."""
        return {key: value for key, value in self.shape().items() if key in self.model_fields_set}


class TokenizerSettings(NetworkSettings):
    """The tokenizer; each of n_enc_layers and n_dec_layers builds one block fewer."""

    d_in: Literal[6] = 6
    d_model: PositiveInt = 64
    n_heads: PositiveInt = 4
    ff_dim: PositiveInt = 128
    n_enc_layers: PositiveInt = 3
    n_dec_layers: PositiveInt = 3
    ffn_dropout_p: Share = 0.0
    attn_dropout_p: Share = 0.0
    resid_dropout_p: Share = 0.0
    s1_bits: Annotated[int, Field(ge=1, le=16)] = 8
    s2_bits: Annotated[int, Field(ge=1, le=16)] = 8
    beta: NonNegative = 0.05
    gamma0: NonNegative = 1.0
    gamma: NonNegative = 1.1
    zeta: NonNegative = 0.05
    group_size: PositiveInt = 4


class TransformerSettings(NetworkSettings):
    """The model; its bits are the tokenizer's. max_context is stated in the card (null: length)."""

    n_layers: PositiveInt = 3
    d_model: PositiveInt = 128
    n_heads: PositiveInt = 4
    ff_dim: PositiveInt = 256
    ffn_dropout_p: Share = 0.2
    attn_dropout_p: Share = 0.0
    resid_dropout_p: Share = 0.2
    token_dropout_p: Share = 0.0
    learn_te: bool = True
    max_context: Annotated[int, Field(ge=2)] | None = None


class StageSettings(Section):
    """One stage: AdamW under a one-cycle learning rate. batch counts windows of all workers."""

    steps: PositiveInt = 1000
    batch: PositiveInt = 16
    accumulate: PositiveInt = 1
    epoch_windows: PositiveInt = 100_000
    learning_rate: Positive = 2e-4
    max_grad_norm: Positive = 2.0
    weight_decay: NonNegative = 0.1
    beta1: Share = 0.9
    beta2: Share = 0.95
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.03
    div_factor: Annotated[float, Field(ge=1)] = 10.0
    evaluate_every: PositiveInt = 500
    patience: Annotated[int, Field(ge=0)] = 0


class ModelStageSettings(StageSettings):
    """The second stage. s2 is conditioned on the true s1 (teacher) or on one the model samples;
    dependency_rope trained rotates the dependency layer, as published models were trained."""

    max_grad_norm: Positive = 3.0
    conditioning: Literal["teacher", "sampled"] = "sampled"
    dependency_rope: Literal["exact", "trained"] = "trained"
    context_weight: Annotated[float, Field(ge=0, le=1)] = 1.0


class WorkerSettings(Section):
    """Ray Train's workers. precision auto is bfloat16 autocast on GPUs that are good at it."""

    count: PositiveInt = 1
    cpus: PositiveInt = 1
    gpus: Literal[0, 1] = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    max_failures: Annotated[int, Field(ge=0)] = 3
    ray_address: str | None = None


class CheckpointSettings(Section):
    """How often a run can be taken up again, in steps, and how many checkpoints stay."""

    every: PositiveInt = 500
    keep: PositiveInt = 2


class ValidationSettings(Section):
    """Windows of each look, and the forecasts whose RankIC the card states."""

    windows: PositiveInt = 512
    rank_ic: bool = True
    lookback: Annotated[int, Field(ge=2)] | None = None
    horizons: list[PositiveInt] = Field(default=[5, 10, 20], min_length=1)
    rebalance: Literal["daily", "weekly", "monthly"] = "weekly"
    sampling: SamplingSettings = SamplingSettings(paths=4)
    min_cross_section: Annotated[int, Field(ge=2)] = 4


class CardSettings(Section):
    """What only a person can say in the model card."""

    name: str = "kronos"
    description: str | None = None
    license: str | None = None
    notes: str = ""


class TrainSettings(Section):
    """The whole tree of `python -m engine.train`."""

    run: TrainRunSettings = TrainRunSettings()
    data: DataSettings = DataSettings()
    split: SplitSettings = SplitSettings()
    windows: WindowSettings = WindowSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    model: TransformerSettings = TransformerSettings()
    tokenizer_stage: StageSettings = StageSettings()
    model_stage: ModelStageSettings = ModelStageSettings()
    workers: WorkerSettings = WorkerSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    validation: ValidationSettings = ValidationSettings()
    card: CardSettings = CardSettings()

    @model_validator(mode="after")
    def _batches_divide(self) -> TrainSettings:
        for name in ("tokenizer_stage", "model_stage"):
            stage: StageSettings = getattr(self, name)
            parts = self.workers.count * stage.accumulate
            if stage.batch % parts:
                raise ValueError(
                    f"{name}.batch {stage.batch} must be a multiple of workers.count × "
                    f"accumulate, {parts}"
                )
        return self

    @property
    def folder(self) -> Path:
        return self.run.dir / self.run.name

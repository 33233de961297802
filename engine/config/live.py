"""Settings of live signals and trading: the section `live`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from engine.config.section import Count, NonNegative, Positive, Section, Share

__all__ = [
    "AlpacaSettings",
    "ForecasterChoice",
    "GuardSettings",
    "LiveSettings",
    "MonitorSettings",
    "PaperSettings",
    "ScheduleSettings",
]


class ForecasterChoice(Section):
    """The forecaster after `model.name`, and when it takes over.

    `fallback` is a name as `model.name` takes; null: none, the cycle halts instead.
    """

    fallback: str | None = "momentum"
    timeout_s: Positive = 900.0


class ScheduleSettings(Section):
    """When the loop acts, in minutes around the session's open and close.

    `max_attempts`: how often an order is sent in all, where the broker rejects it.
    """

    decide: Literal["after_close", "before_close"] = "after_close"
    after_close_min: NonNegative = 30.0
    before_open_min: NonNegative = 30.0
    after_open_min: NonNegative = 5.0
    before_close_min: NonNegative = 15.0
    poll_s: Positive = 5.0
    fill_timeout_s: Positive = 600.0
    max_attempts: Count = 3


class PaperSettings(Section):
    """The built-in paper broker. Costs of its fills are those of the section `costs`."""

    cash: Positive = 1_000_000.0
    quotes: Literal["data", "alpaca"] = "data"
    half_spread_bps: NonNegative = 1.0


class AlpacaSettings(Section):
    """Alpaca; the keys come from APCA_API_KEY_ID and APCA_API_SECRET_KEY only.

    `account: live` also needs KRONOS_LIVE_TRADING=yes in the environment.
    """

    account: Literal["paper", "live"] = "paper"
    url: str | None = None
    data_url: str | None = None
    feed: Literal["iex", "sip"] = "iex"
    timeout_s: Positive = 10.0
    retries: Annotated[int, Field(ge=0)] = 4


class GuardSettings(Section):
    """Limits beyond which nothing is sent. Fractions are of equity."""

    max_data_age_sessions: Annotated[int, Field(ge=0)] = 0
    max_missing_share: Share = 0.2
    max_quote_age_s: Positive = 60.0
    max_spread: Positive = 0.02
    max_quote_move: Positive = 0.3
    max_abs_score: Positive = 1.0
    max_gross: Positive = 2.0
    max_name_weight: Positive = 0.25
    max_turnover: Positive = 2.0
    max_orders: Count = 500
    max_orders_per_minute: Count = 60
    max_daily_loss: Annotated[float, Field(gt=0, le=1)] = 0.05
    max_drawdown: Annotated[float, Field(gt=0, le=1)] = 0.2
    min_order_value: NonNegative = 1.0
    whole_shares: bool = True


class MonitorSettings(Section):
    """Who is told, and what live is compared with.

    `webhook` is a URL that takes JSON, and a secret; `backtest` a run folder whose interval live is
    held to, from `min_dates` matured dates on. Slippage is judged from `min_fills` fills on.
    """

    webhook: SecretStr | None = None
    backtest: Path | None = None
    min_dates: Count = 12
    min_fills: Count = 20


class LiveSettings(Section):
    """The section `live`."""

    broker: Literal["paper", "alpaca"] = "paper"
    state: Path | None = None
    forecaster: ForecasterChoice = ForecasterChoice()
    schedule: ScheduleSettings = ScheduleSettings()
    paper: PaperSettings = PaperSettings()
    alpaca: AlpacaSettings = AlpacaSettings()
    guards: GuardSettings = GuardSettings()
    monitor: MonitorSettings = MonitorSettings()

"""Guards: small pure functions that say why nothing may be sent.

Each takes what it judges and its limit (from `live.guards`) and returns `GuardEvent`s, none of
them if all is well.
"""

from engine.live.guards.account import (
    account_blocked,
    daily_loss,
    drawdown,
    foreign_positions,
    kill_switch,
)
from engine.live.guards.event import GuardEvent
from engine.live.guards.market import (
    halted_names,
    market_closed,
    missing_quotes,
    missing_share,
    quote_moves,
    stale_data,
    stale_quotes,
    wide_spreads,
)
from engine.live.guards.plan import (
    bad_scores,
    config_changed,
    gross_limit,
    model_changed,
    name_limit,
    order_count,
    turnover_limit,
)

__all__ = [
    "GuardEvent",
    "account_blocked",
    "bad_scores",
    "config_changed",
    "daily_loss",
    "drawdown",
    "foreign_positions",
    "gross_limit",
    "halted_names",
    "kill_switch",
    "market_closed",
    "missing_quotes",
    "missing_share",
    "model_changed",
    "name_limit",
    "order_count",
    "quote_moves",
    "stale_data",
    "stale_quotes",
    "turnover_limit",
    "wide_spreads",
]

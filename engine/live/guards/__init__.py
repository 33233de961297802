"""Guards: small pure functions that say why nothing may be sent.

Each takes what it judges and its limit (from `live.guards`) and returns `GuardEvent`s, none of
them if all is well.
"""

from engine.live.guards.changes import config_changed, model_changed
from engine.live.guards.data import missing_share, stale_data
from engine.live.guards.event import GuardEvent
from engine.live.guards.limits import gross_limit, name_limit, order_count, turnover_limit
from engine.live.guards.losses import daily_loss, drawdown
from engine.live.guards.market import account_blocked, halted_names, market_closed
from engine.live.guards.positions import foreign_positions
from engine.live.guards.quotes import missing_quotes, quote_moves, stale_quotes, wide_spreads
from engine.live.guards.scores import bad_scores
from engine.live.guards.switch import kill_switch

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

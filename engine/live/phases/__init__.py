"""The phases of a session's cycle. Each does its work, marks how it ended, and may be run again."""

from engine.live.phases.account import check, review
from engine.live.phases.decide import decide
from engine.live.phases.trade import finish, trade

__all__ = ["check", "decide", "finish", "review", "trade"]

"""What the live engine knows: plans, orders, fills, positions, equity, guard events, phases.

One DuckDB file, written by one process. Every change is one transaction, so that a process that
is killed at any point finds on its next start either all of it or nothing.
"""

from engine.live.state.cycles import Mark, MarkStatus
from engine.live.state.live_state import LiveState, open_state
from engine.live.state.orders import OrderRecord, PlannedOrder
from engine.live.state.plans import Plan

__all__ = ["LiveState", "Mark", "MarkStatus", "OrderRecord", "Plan", "PlannedOrder", "open_state"]

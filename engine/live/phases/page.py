"""The page of the day, and what on it a person should look at."""

from __future__ import annotations

import logging

from engine.errors import UsageError
from engine.live.context import Context
from engine.live.schedule import Slot

__all__ = ["write_page"]

log = logging.getLogger(__name__)


def write_page(context: Context, slot: Slot) -> None:
    """Write it and tell its alerts. A page that cannot be written is told of, and no more."""
    from engine.live.page.daily import write_daily_page

    session = slot.session.date
    try:
        path, found = write_daily_page(context.settings, session, context.state.orders.all_fills())
    except Exception as error:  # the account is looked at with or without a page
        if not isinstance(error, UsageError):
            log.exception("no daily page")
        reason = " ".join(str(error).split()) or type(error).__name__
        context.monitor.tell("page", f"no page of {session}: {reason}", warning=True)
        return
    log.info("daily page %s", path)
    for alert in found.alerts:
        context.monitor.tell("alert", alert, warning=True, session=session)

"""The audit: `python -m engine.data check` and the rules behind it."""

from __future__ import annotations

from engine.data.check.audit import Audit, audit
from engine.data.check.command import run_check
from engine.data.check.findings import FINDINGS, RULES
from engine.data.check.splits import detect_splits

__all__ = ["FINDINGS", "RULES", "Audit", "audit", "detect_splits", "run_check"]

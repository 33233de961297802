"""Audit: proves or refutes, by running it on changed data, that a configuration looks ahead."""

from __future__ import annotations

from engine.audit.findings import Finding
from engine.audit.lookahead import audit_lookahead
from engine.audit.recursive import audit_recursive
from engine.audit.stages import Stages, stages_of

__all__ = ["Finding", "Stages", "audit_lookahead", "audit_recursive", "stages_of"]

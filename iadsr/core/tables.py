"""What the stage `statistics` writes: tables, and the facts that sentences are made of."""

from __future__ import annotations

STATISTICS = (
    *("cells", "sides", "comparisons", "metrics", "quantities", "keep", "denoised", "tails", "rungs", "spreads"),
    *("clear_gains", "budgets", "curves", "environments", "digests", "encoders"),
)
FINDINGS = "findings.json"

"""What the stage `statistics` writes: tables with the columns that a reader relies on, and findings for sentences."""

from __future__ import annotations

from collections.abc import Mapping

from iadsr.core import columns as c

_SIDE = (c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD)
STATISTICS: Mapping[str, tuple[str, ...]] = {
    "cells": (*_SIDE, c.SEED, "status", "reason"),
    "sides": (*_SIDE, "status", "note", "seeds_done", "seeds_expected"),
    "comparisons": (
        *(*_SIDE, "kind", "baseline_method", c.RANKING, c.METRIC, "mean_low", "mean_high", "outcome", "status"),
        *("headline", "whole", "ruled_out"),
    ),
    "cold_comparisons": (*_SIDE, "kind", "baseline_method", c.RANKING, c.METRIC, "outcome", "status", "users"),
    "metrics": (*_SIDE, c.RANKING, c.GROUP, c.METRIC, "mean", "sd", "gain", "best", "headline"),
    "quantities": (*_SIDE, "quantity", "loss", "part", "mean", "sd"),
    "keep": (*_SIDE, "stage", c.GROUP, "mean", "sd", "seeds", "below", "inputs"),
    "drops": (*_SIDE, c.SEED, "part", c.USER, "place", c.ITEM, "name", "keep", "inputs", c.TARGET),
    "denoised": (*_SIDE, c.METRIC, "honest_mean", "honest_sd", "denoised_mean", "denoised_sd", "inflation"),
    "tails": (*_SIDE, "shown", "seeds_shown", "seeds"),
    "rungs": (*_SIDE, c.METRIC, "rung", "factor"),
    "spreads": (c.EXPERIMENT, c.DATASET, c.BACKBONE, c.METHOD, "minus", c.METRIC, "mean", "sd", "seed_sd"),
    "clear_gains": (c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.BACKBONE, c.METRIC, "protocol_sd", "seed_sd"),
    "detections": (
        *_SIDE,
        "noise_auc",
        "untrained_auc",
        "drop_precision",
        "drop_recall",
        "dropped",
        "noise_share",
        "lift",
        "seeds",
    ),
    "budgets": (*_SIDE, "larger", "change", "enough", "seeds", "note"),
    "curves": (*_SIDE, "quantity", "epoch", "mean", "least", "most"),
    "verdicts": (
        "claim",
        c.DATASET,
        c.PROTOCOL,
        "verdict",
        "against",
        "least",
        "most",
        "low",
        "high",
        "beside_least",
        "beside_most",
        "detectable",
        "sought",
        "needed",
        "users",
        "seeds",
        "excluded",
        "same",
        "contrary",
        "judged",
        "lost",
        "weak",
    ),
    "environments": ("part", "commit", "runs"),
    "digests": (c.DATASET, "name", "digest", "runs"),
    "encoders": (c.EXPERIMENT, c.DATASET, "encoder", "details", "runs"),
}
FINDINGS = "findings.json"

"""The answer and the reader's warnings, worked out from the tables by stated rules: no result is typed by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from iadsr.core.columns import (
    ALL_BACKBONES,
    BACKBONE,
    DATASET,
    DIVERGED,
    DONE,
    FAILED,
    METHOD,
    PROTOCOL,
    RANKINGS,
    SEED,
    UNTRAINED,
    VALUE,
)
from iadsr.reporting.load import MISSING, NUMBERS, Results, done_only, own_ranking, records, select
from iadsr.reporting.words import (
    BASELINES,
    CLAIM_HIGH,
    CLAIM_LOW,
    CLAIM_METRICS,
    CONTROLS,
    counted,
    disagreement,
    fixed,
    interval,
    is_number,
    label,
    listed,
    lost_word,
    outcome,
    outcome_text,
    percent,
    plain,
    share,
    signed,
)

Row = Mapping[str, Any]
_NO_DENOISERS = (*BASELINES, "random_drop", "popularity_drop")
_KEEP_RATE_SLACK = 0.05
_FEW_SEEDS = 3
_REFERENCE_METRIC = "NDCG@10"
_CONTROL_WORDS = {"random_mask": "its losses with a random mask", "aux_only": "its losses without a mask"}
_SIDES = {"none": "without a denoiser", "iadsr": "with IADSR"}
_MANY_TIES = 0.1  # share of interactions whose place among others at the same time is the file's choice
_IDLE = 0.99  # a mask that keeps this much at test time denoises no test history worth speaking of


class Comparisons:
    """comparisons.parquet by what is compared. An absent comparison comes back with the reason as its status."""

    def __init__(self, results: Results) -> None:
        self._cells = results.cells
        rows = records(results.comparisons)
        self._methods = {_method_key(row): row for row in rows if row["kind"] in ("method", "backbones")}
        self._protocols = {_protocol_key(row): row for row in rows if row["kind"] == "protocol"}

    def method(
        self,
        dataset: str,
        protocol: str,
        backbone: str,
        ranking: str,
        metric: str,
        method: str,
        baseline: str,
    ) -> Row:
        """`method` against `baseline` within one protocol; `backbone` may be `ALL_BACKBONES`."""
        key = (dataset, protocol, backbone, ranking, metric, method, baseline)
        sides = ((protocol, method), (protocol, baseline))
        return self._methods.get(key) or self._absent(dataset, backbone, sides)

    def protocol(
        self,
        dataset: str,
        backbone: str,
        ranking: str,
        metric: str,
        protocol: str,
        baseline: str,
        method: str = "none",
    ) -> Row:
        """`protocol` against the protocol `baseline`, with the same method under both."""
        key = (dataset, backbone, ranking, metric, protocol, baseline, method)
        sides = ((protocol, method), (baseline, method))
        return self._protocols.get(key) or self._absent(dataset, backbone, sides)

    def protocol_pairs(self, dataset: str) -> list[tuple[str, str]]:
        """The (protocol, baseline protocol) pairs compared without a denoiser on `dataset`, in file order."""
        pairs = [(key[4], key[5]) for key in self._protocols if key[0] == dataset and key[6] == "none"]
        return list(dict.fromkeys(pairs))

    def _absent(self, dataset: str, backbone: str, sides: Sequence[tuple[str, str]]) -> Row:
        reasons = [self._side_reason(dataset, backbone, protocol, method) for protocol, method in sides]
        reason = "; ".join(dict.fromkeys(filter(None, reasons))) or "not compared"
        return {"status": reason, **dict.fromkeys(NUMBERS, math.nan)}

    def _side_reason(self, dataset: str, backbone: str, protocol: str, method: str) -> str:
        cells = select(self._cells, dataset=dataset, backbone=backbone, protocol=protocol, method=method)
        if cells.empty:
            return f"{label(method)} under {protocol} is not in this grid"
        bad = cells[cells["status"] != DONE]
        return "" if len(bad) < len(cells) else f"{label(method)} under {protocol}: {cell_notes(bad)}"


def _method_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("dataset", "protocol", "backbone", "ranking", "metric", "method", "baseline_method")
    return tuple(row[name] for name in names)


def _protocol_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("dataset", "backbone", "ranking", "metric", "protocol", "baseline_protocol", "method")
    return tuple(row[name] for name in names)


def cell_notes(cells: pd.DataFrame) -> str:
    """`seed 2 diverged: loss is NaN; seed 3 missing: no run record`, seeds of one reason together."""
    grouped: dict[tuple[str, str], list[int]] = {}
    for seed, status, reason in zip(cells[SEED], cells["status"], cells["reason"], strict=True):
        if status != DONE:
            grouped.setdefault((str(status), str(reason)), []).append(int(seed))
    parts = []
    for (status, reason), seeds in grouped.items():
        parts.append(f"{_seeds(seeds)} {status}{': ' + reason if reason else ''}")
    return "; ".join(parts)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {listed([str(seed) for seed in seeds])}"


@dataclass(frozen=True)
class Evidence:
    """One comparison on which the answer rests."""

    dataset: str
    protocol: str
    backbone: str
    metric: str
    ranking: str
    row: Row


def evidence(
    results: Results,
    compared: Comparisons,
    settings: Mapping[str, Any],
    dataset: str,
    protocol: str,
    baseline: str = "none",
    metrics: Sequence[str] = CLAIM_METRICS,
    ranking: str = "",
) -> list[Evidence]:
    """IADSR against `baseline` for every expected backbone, under `ranking`, or the protocol's own rule."""
    ranking = ranking or own_ranking(protocol, settings)
    return [
        Evidence(
            dataset,
            protocol,
            backbone,
            metric,
            ranking,
            compared.method(dataset, protocol, backbone, ranking, metric, "iadsr", baseline),
        )
        for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol)
        for metric in metrics
    ]


@dataclass(frozen=True)
class Answer:
    """The report's summary.

    Attributes:
        lead: the first paragraph.
        points: one per dataset and protocol, and protocol effects.
        choices: one per dataset and protocol: does it matter which items IADSR drops?
        warnings: what to know before believing a number.
    """

    lead: str
    points: Sequence[str]
    choices: Sequence[str]
    warnings: Sequence[str]


def answer(results: Results, compared: Comparisons, settings: Mapping[str, Any]) -> Answer:
    """Word the evidence. See `words.outcome` for when a comparison is a gain, a loss, or neither."""
    blocks = [
        (dataset, protocol)
        for dataset in results.values(DATASET)
        for protocol in results.values(PROTOCOL, dataset=dataset)
    ]
    items = {
        name: {block: evidence(results, compared, settings, *block, baseline=name) for block in blocks}
        for name in BASELINES
    }
    points = [
        _point(results, *block, {name: items[name][block] for name in BASELINES})
        + _beside_popular(results, items["none"][block])
        for block in blocks
    ]
    choices = [choice_sentence(results, compared, settings, *block) for block in blocks]
    effects = [_protocol_effect(results, compared, settings, dataset) for dataset in results.values(DATASET)]
    effects = [text for text in effects if text]
    lead = [_opening([item for block in blocks for item in items["none"][block]])]
    for name in CONTROLS:
        against = [item for block in blocks if _holds(results, *block, name) for item in items[name][block]]
        if against:
            lead.append(f"Against {_CONTROL_WORDS[name]}: {tally(against)}.")
    if len(effects) == 1:
        lead += effects
    else:
        points += effects
    return Answer(" ".join([*lead, _scope(results)]), points, choices, warnings(results, compared, settings))


def _holds(results: Results, dataset: str, protocol: str, method: str) -> bool:
    return method in results.methods(dataset=dataset, protocol=protocol)


def compared_backbones(results: Results, dataset: str, protocol: str) -> list[str]:
    """The backbones of a table of comparisons, and their mean where there are several."""
    backbones = results.values(BACKBONE, dataset=dataset, protocol=protocol)
    return [*backbones, *([ALL_BACKBONES] if len(backbones) > 1 else [])]


def choice_sentence(
    results: Results, compared: Comparisons, settings: Mapping[str, Any], dataset: str, protocol: str
) -> str:
    """Does it matter *which* items are dropped? IADSR minus the same losses with a random mask, with intervals."""
    ranking = own_ranking(protocol, settings)
    where = f"{dataset}, “{protocol}” ({label(ranking)})"
    control = CONTROLS[0]
    if not _holds(results, dataset, protocol, control):
        return f"{where}: not known, for “{label(control)}” is not in this grid."
    rows = {
        backbone: compared.method(dataset, protocol, backbone, ranking, _REFERENCE_METRIC, "iadsr", control)
        for backbone in compared_backbones(results, dataset, protocol)
    }
    *backbones, last = rows
    verdict = {
        "gain": "which items are dropped matters: IADSR's choice does better than a random one",
        "loss": "which items are dropped matters: IADSR's choice does worse than a random one",
        "none": "no significant difference between IADSR's choice of items and a random one",
        "missing": f"not known, for the comparison could not be made ({rows[last]['status']})",
    }[outcome(rows[last])]
    if outcome(rows[last]) == "missing":
        return f"{where}: {verdict}."
    made = [label(backbone) for backbone in backbones or rows if outcome(rows[backbone]) != "missing"]
    text = (
        f"{where}: {verdict}. {_REFERENCE_METRIC} with IADSR's mask minus that with a random mask is "
        f"{_with_interval(rows[last])} with {f'the mean of {listed(made)}' if backbones else made[0]}"
    )
    if outcome(rows[last]) == "none" and is_number(rows[last]["gain_low"]) and is_number(rows[last]["gain_high"]):
        low, high = percent(rows[last]["gain_low"]), percent(rows[last]["gain_high"])
        text += f"; the interval allows anything from {low} to {high} of the random mask's value"
    parts = [f"{label(name)} {_with_interval(rows[name])}, {outcome_text(rows[name])}" for name in backbones]
    return f"{text}. By backbone: {'; '.join(parts)}." if parts else f"{text}."


def _with_interval(row: Row) -> str:
    return f"{signed(row['difference'])} {interval(row['ci_low'], row['ci_high'])}"


def _opening(items: Sequence[Evidence]) -> str:
    made = [item for item in items if outcome(item.row) != "missing"]
    if not made:
        return (
            f"There is no answer: none of the {len(items)} comparisons of IADSR with its backbone could be made "
            f"({_reasons(items)})."
        )
    where = f"{counted(len({item.backbone for item in items}), 'backbone')}, {listed(list(CLAIM_METRICS))}"
    protocols = list(dict.fromkeys(item.protocol for item in items))
    if len(protocols) > 1:
        where += f", {len(protocols)} protocols"
    return f"IADSR against its own backbone ({where}): {tally(items)}. {_reach(made)}"


def _reasons(items: Sequence[Evidence]) -> str:
    reasons = list(dict.fromkeys(str(item.row["status"]) for item in items))
    more = [f"{len(reasons) - 3} other reasons"] if len(reasons) > 3 else []
    return listed([*reasons[:3], *more])


def tally(items: Sequence[Evidence]) -> str:
    """`1 significant gain, 0 significant losses, 3 comparisons without a significant difference and 1 missing`."""
    results = [outcome(item.row) for item in items]
    gains, losses, none = (results.count(name) for name in ("gain", "loss", "none"))
    lost = [lost_word(item.row) for item in items if outcome(item.row) == "missing"]
    parts = [counted(gains, "significant gain"), counted(losses, "significant loss", "significant losses")]
    parts.append(f"{counted(none, 'comparison')} without a significant difference")
    words = {UNTRAINED: "untrained", DIVERGED: "that diverged", FAILED: "that failed", MISSING: "missing"}
    for word, text in words.items():
        if word in lost:
            parts.append(f"{lost.count(word)} {text}")
    return listed(parts)


def _reach(made: Sequence[Evidence]) -> str:
    """Where the intervals lie against the claim's lower end."""
    bounded = [item.row for item in made if is_number(item.row["gain_low"]) and is_number(item.row["gain_high"])]
    reaching = [row for row in bounded if row["gain_high"] >= CLAIM_LOW]
    above = sum(row["gain_low"] >= CLAIM_LOW for row in reaching)
    undecided = sum(row["gain_low"] <= 0 for row in reaching)
    low = share(CLAIM_LOW)
    if not reaching:
        return f"No interval reaches {low}, the low end of the published claim."
    details = [f"{above} wholly above it"] if above else []
    if undecided:
        details.append(f"{undecided} so wide that {'it also holds' if undecided == 1 else 'they also hold'} zero")
    verb = "reaches" if len(reaching) == 1 else "reach"
    text = f"{len(reaching)} of {counted(len(bounded), 'interval')} {verb} {low}, the low end of the published claim"
    return f"{text}{' (' + listed(details) + ')' if details else ''}."


def _point(results: Results, dataset: str, protocol: str, against: Mapping[str, Sequence[Evidence]]) -> str:
    """IADSR against each of `BASELINES` in one grid."""
    items = against["none"]
    where = f"{dataset}, “{protocol}” ({label(items[0].ranking)})"
    made = [item for item in items if outcome(item.row) != "missing"]
    if not made:
        return f"{where}: IADSR could not be compared with its backbone ({_reasons(items)})."
    text = f"{where}: {_means(items, made)}; {tally(items)}."
    absent = [_CONTROL_WORDS[name] for name in CONTROLS if not _holds(results, dataset, protocol, name)]
    for name in CONTROLS:
        if not _holds(results, dataset, protocol, name):
            continue
        controls = against[name]
        if all(outcome(item.row) == "missing" for item in controls):
            text += f" It could not be compared with {_CONTROL_WORDS[name]} ({_reasons(controls)})."
        else:
            text += f" Against {_CONTROL_WORDS[name]}: {tally(controls)}."
    if absent:
        be = "is" if len(absent) == 1 else "are"
        text += f" What a claim about denoising must beat, {listed(absent)}, {be} not in this grid."
    return text


def _beside_popular(results: Results, items: Sequence[Evidence]) -> str:
    """How many backbones stand above the most popular items, without IADSR and with it, in NDCG@10."""
    dataset, protocol, ranking = items[0].dataset, items[0].protocol, items[0].ranking
    popular = results.popular(dataset, ranking, _REFERENCE_METRIC)
    if not is_number(popular):
        return ""
    values = select(results.metrics, dataset=dataset, protocol=protocol, ranking=ranking, group="all")
    values = select(values, metric=_REFERENCE_METRIC)
    counts = []
    for method in ("none", "iadsr"):
        means = select(values, method=method).groupby(BACKBONE)[VALUE].mean().dropna()
        counts.append(f"{int((means > popular).sum())} of {counted(len(means), 'backbone')} {_SIDES[method]}")
    return f" The most popular items alone reach {_REFERENCE_METRIC} {fixed(popular)}; above that are {listed(counts)}."


def _means(items: Sequence[Evidence], made: Sequence[Evidence]) -> str:
    """Mean and range over backbones of the relative gain, a metric at a time."""
    parts = []
    for metric in CLAIM_METRICS:
        gains = [
            float(item.row["relative_gain"])
            for item in made
            if item.metric == metric and is_number(item.row["relative_gain"])
        ]
        if gains:
            spread = f" (backbones {percent(min(gains))} to {percent(max(gains))})" if len(gains) > 1 else ""
            parts.append(f"{metric} {percent(sum(gains) / len(gains))}{spread}")
    if not parts:
        return "the relative gain is undefined, for the baseline is zero"
    have, all_of = len({item.backbone for item in made}), len({item.backbone for item in items})
    over = counted(have, "backbone") if have == all_of else f"the {have} of {all_of} backbones that could be compared"
    return f"mean gain over {over} {listed(parts)}"


def _protocol_effect(results: Results, compared: Comparisons, settings: Mapping[str, Any], dataset: str) -> str:
    """What changing the protocol does without a denoiser, against the size of IADSR's own difference (NDCG@10).

    Both are under one ranking rule.
    """
    own = [
        abs(float(item.row["difference"]))
        for protocol in results.values(PROTOCOL, dataset=dataset)
        for item in evidence(results, compared, settings, dataset, protocol, metrics=("NDCG@10",), ranking=RANKINGS[0])
        if outcome(item.row) != "missing"
    ]
    sentences = []
    for protocol, baseline in compared.protocol_pairs(dataset):
        rows = [
            compared.protocol(dataset, backbone, RANKINGS[0], "NDCG@10", protocol, baseline)
            for backbone in results.values(BACKBONE, dataset=dataset)
        ]
        rows = [row for row in rows if outcome(row) != "missing" and is_number(row["relative_gain"])]
        if not rows:
            continue
        ratios = [1 + float(row["relative_gain"]) for row in rows]
        times = f"{fixed(min(ratios), 2)} to {fixed(max(ratios), 2)}" if len(ratios) > 1 else fixed(ratios[0], 2)
        mean = sum(float(row["difference"]) for row in rows) / len(rows)
        text = (
            f"On {dataset} the protocol alone, with no denoiser, multiplies NDCG@10 by {times} from “{baseline}” "
            f"to “{protocol}” ({label(RANKINGS[0])} under both), a mean difference of {signed(mean)}"
        )
        size = sum(own) / len(own) if own else math.nan
        if is_number(size) and size > 0:
            text += f": {fixed(abs(mean) / size, 1)} times the mean size of IADSR's own difference under the same rule"
            text += f" ({fixed(size)})"
        sentences.append(text + ".")
    return " ".join(sentences)


def _scope(results: Results) -> str:
    rivals = [name for name in results.methods() if name not in _NO_DENOISERS and not name.startswith("iadsr")]
    low, high = fixed(CLAIM_LOW * 100, 1), share(CLAIM_HIGH)
    grid = (
        f"of which this grid holds {listed([label(name) for name in rivals])}"
        if rivals
        else "none of which is in this grid"
    )
    return (
        f"The published claim, an average gain of {low} to {high} in {listed(list(CLAIM_METRICS))} (arXiv 2510.04239), "
        f"is over the best competing denoisers, {grid}: what stands here is evidence about the gain over the backbone, "
        "not a verdict on the whole claim."
    )


def warnings(results: Results, compared: Comparisons, settings: Mapping[str, Any]) -> list[str]:
    """What a reader should know before believing a number; empty when nothing is amiss."""
    found = [*_cell_warnings(results), *_source_warnings(results), *_keep_rate_warnings(results), *_idle_masks(results)]
    for dataset, summary in results.summaries.items():
        if summary["placeholder_note"]:
            found.append(f"{dataset}: {summary['placeholder_note']}")
        if is_number(summary["tied_share"]) and summary["tied_share"] >= _MANY_TIES:
            note = summary.get("order_note") or ""
            found.append(
                f"{dataset}: {share(summary['tied_share'])} of the interactions share user and time with another, so "
                f"the order of the source's rows decides which of them comes last and is the test item. {note}".rstrip()
            )
    for row in results.encoders.itertuples(index=False):
        if row.kind == "random":
            found.append(f"{row.dataset}: the item embeddings are random, so no semantic signal can reach IADSR.")
    items = [
        item
        for dataset in results.values(DATASET)
        for protocol in results.values(PROTOCOL, dataset=dataset)
        for baseline in BASELINES
        for item in evidence(results, compared, settings, dataset, protocol, baseline=baseline)
    ]
    split = sum(disagreement(item.row) for item in items)
    if split:
        found.append(
            f"In {counted(split, 'comparison')} behind the answer the Holm-adjusted test finds a difference but the "
            "interval, which also covers the seeds, includes zero: counted as no significant difference."
        )
    return found


def untrained_warnings(cells: pd.DataFrame) -> list[str]:
    """At most one: every untrained cell by name, seeds of a method and backbone together."""
    lost = select(cells, status=UNTRAINED)
    if lost.empty:
        return []
    places = []
    for (dataset, protocol), block in lost.groupby([DATASET, PROTOCOL], sort=False):
        pairs = [
            f"{label(str(method))} on {label(str(backbone))} ({_seeds(own[SEED].tolist())})"
            for (backbone, method), own in block.groupby([BACKBONE, METHOD], sort=False)
        ]
        places.append(f"{dataset}, “{protocol}”: {listed(pairs)}")
    return [
        f"Untrained, so in no mean and no test: {counted(len(lost), 'run')} of the {len(cells)} expected. "
        f"{'; '.join(places)}. The tables say why."
    ]


def _cell_warnings(results: Results) -> list[str]:
    cells, found = results.cells, []
    for status in (DIVERGED, FAILED, MISSING):
        number = int((cells["status"] == status).sum())
        if number:
            be = "" if status != MISSING else ("is " if number == 1 else "are ")
            found.append(
                f"{counted(number, 'run')} of the {len(cells)} expected {be}{status}; the tables say which and why."
            )
    seeds = int(cells.groupby([DATASET, PROTOCOL, BACKBONE, METHOD], sort=False)[SEED].nunique().min())
    if seeds == 1:
        found.append("Only 1 seed a cell: the spread over seeds is not known, and the intervals cover the users alone.")
    elif seeds < _FEW_SEEDS:
        found.append(f"Only {seeds} seeds a cell: the spread over seeds is barely known.")
    if results.unexpected_runs:
        found.append(
            f"{counted(results.unexpected_runs, 'further run')} in the results tree, not named by these settings, "
            "left out of this page."
        )
    return found


def _source_warnings(results: Results) -> list[str]:
    found = []
    records = list(results.records.values())
    commits = [record.get("commit") or {} for record in records]
    if any(commit.get("dirty") for commit in commits):
        found.append(
            "Some runs were made from a work tree with uncommitted changes; their source digests are under provenance."
        )
    hashes = {commit.get("hash") for commit in commits}
    if len(hashes) > 1:
        found.append(f"The runs come from {len(hashes)} different commits.")
    found += _mixed(results, "device", 1, "were not all made on one kind of device")
    found += _mixed(results, "source_digest", 4, "have seeds of one cell that ran different source code")
    return found


def _mixed(results: Results, key: str, depth: int, what: str) -> list[str]:
    """Datasets in which runs that share the first `depth` parts of their address differ in `key`."""
    values: dict[tuple[Any, ...], set[str]] = {}
    for address, record in results.records.items():
        values.setdefault(address[:depth], set()).add(plain(record.get(key)))
    mixed = list(dict.fromkeys(str(part[0]) for part, found in values.items() if len(found) > 1))
    return [f"The runs of {listed(mixed)} {what}: see the provenance tables."] if mixed else []


def _keep_rate_warnings(results: Results) -> list[str]:
    """A control that drops at random is fair only at IADSR's keep rate."""
    found = []
    keys = [DATASET, PROTOCOL, BACKBONE, METHOD]
    means = done_only(results.cells).groupby(keys, sort=False)["train_keep_rate"].mean().reset_index()
    rates = {tuple(str(row[key]) for key in keys): row["train_keep_rate"] for row in records(means)}
    for (dataset, protocol, backbone, method), rate in rates.items():
        if method not in ("random_mask", "random_mask_matched", "random_drop"):
            continue
        other = rates.get((dataset, protocol, backbone, "iadsr"), math.nan)
        if is_number(rate) and is_number(other) and abs(rate - other) > _KEEP_RATE_SLACK:
            found.append(
                f"{dataset}, {protocol}, {label(backbone)}: {label(method)} keeps {share(rate)} in training, "
                f"IADSR {share(other)}; the control does not drop as much as the method."
            )
    return found


def _idle_masks(results: Results) -> list[str]:
    """Where IADSR's mask keeps nearly every interaction at test time."""
    found = []
    iadsr = done_only(select(results.cells, method="iadsr"))
    for (dataset, protocol), cells in iadsr.groupby([DATASET, PROTOCOL], sort=False):
        rates = cells.groupby(BACKBONE, sort=False)[["train_keep_rate", "test_keep_rate"]].mean().astype(float)
        idle = rates[rates["test_keep_rate"] >= _IDLE]
        if len(idle):
            ends = dict.fromkeys(share(end) for end in idle["train_keep_rate"].agg(["min", "max"]))
            found.append(
                f"{dataset}, {protocol}: at test time IADSR keeps at least {share(_IDLE, 0)} of the interactions with "
                f"{listed([label(str(name)) for name in idle.index])} (in training {' to '.join(ends)}), so "
                "whatever it changes there comes from training, not from denoised test histories."
            )
    return found

"""The report's tables: data frames in, tables out. A table knows its display cells and its full-precision numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from iadsr.core.columns import ADDRESS, BACKBONE, COLD_LIMIT, CUTOFFS, DATASET, DONE, METHOD, PROTOCOL, SEED
from iadsr.reporting.answer import Comparisons, cell_notes, compared_backbones
from iadsr.reporting.layout import Cell, Column, Row, Table, columns_of, row_heads, text_cells
from iadsr.reporting.load import (
    NUMBERS,
    Results,
    done_only,
    mean_and_sd,
    own_ranking,
    protocol_values,
    rankings,
    records,
    select,
)
from iadsr.reporting.words import (
    BASELINES,
    CLAIM_METRICS,
    CONTROLS,
    NOTHING,
    POPULAR,
    counted,
    disagreement,
    fixed,
    integer,
    interval,
    is_number,
    label,
    listed,
    lost_seeds,
    outcome,
    outcome_text,
    p_value,
    percent,
    percent_interval,
    plain,
    share,
    signed,
    significant,
    slug,
    spread,
)

METRICS = (*(f"{name}@{k}" for k in CUTOFFS for name in ("HR", "NDCG")), "MRR")
GAIN_METRICS = (*CLAIM_METRICS, "NDCG@10")
PAIRS = (
    *(("iadsr", baseline) for baseline in BASELINES),
    *((method, "none") for method in (*CONTROLS, "random_drop")),
)
GROUPS = ("cold", *(f"decile_{number}" for number in range(1, 11)))
MASK_COLUMN_TITLES = {
    "train_keep_rate": "Kept in training",
    "test_keep_rate": "Kept at test",
    "gate_share": "Past the gate",
    "noise_auc": "Noise AUC",
    "untrained_auc": "Noise AUC, untrained",
    "drop_precision": "Drop precision",
    "drop_recall": "Drop recall",
    "train_drop_precision": "Drop precision in training",
    "train_drop_recall": "Drop recall in training",
}
MASK_COLUMNS = tuple(MASK_COLUMN_TITLES)
DROP_NOTE = (
    "Drop precision: share of what the mask drops that is known noise; drop recall: share of the known noise that it "
    "drops; at test time unless training is said."
)
_DIGEST_LENGTH = 12


def context(
    results: Results, settings: Mapping[str, Any], dataset: str, protocol: str, ranking: str | None = None
) -> str:
    """The part of a caption that says what made the numbers: encoder, dataset, protocol, objective, seeds, ranking."""
    cells = select(results.cells, dataset=dataset, protocol=protocol)
    ran = cells["objective"].dropna().astype(str)
    seeds = [str(seed) for seed in sorted(set(cells[SEED]))]
    stated = [plain(value) for key, value in protocol_values(protocol, settings) if key == "objective"]
    objectives = list(dict.fromkeys(ran)) or list(dict.fromkeys(stated)) or ["not stated"]
    if len(objectives) > 1:
        by_name = dict.fromkeys(zip(ran, cells.loc[ran.index, METHOD], strict=True))
        objectives = [
            f"{name} ({listed([label(method) for other, method in by_name if other == name])})" for name in objectives
        ]
    parts = [
        f"Dataset {dataset}",
        f"protocol “{protocol}”",
        f"objective {listed(objectives)}",
        f"encoder {encoder_text(results, dataset)}",
        f"{'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)}",
    ]
    return "; ".join([*parts, *([f"ranking: {label(ranking)}"] if ranking else [])]) + "."


def encoder_text(results: Results, dataset: str) -> str:
    """`minilm-1a2b3c4d (model, revision r, max_length 8)` for every encoder that the runs on `dataset` used."""
    texts = []
    for row in records(select(results.encoders, dataset=dataset)):
        revision = f"revision {row['revision']}" if row["revision"] else ""
        detail = ", ".join(filter(None, [row["model"], revision, row["options"]]))
        texts.append(f"{row['encoder']}{f' ({detail})' if detail else ''}")
    return listed(texts) or "none"


def dataset_table(summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each dataset is, a column a dataset: size, lengths, density, text, ties in time, origin."""
    described = {name: _dataset_facts(summary) for name, summary in summaries.items()}
    facts = list(dict.fromkeys(fact for values in described.values() for fact in values))
    rows = [Row([*row_heads(fact), *text_cells(*(described[name][fact] for name in described))]) for fact in facts]
    columns = [Column(title, numeric=False) for title in ("Property", *described)]
    caption = (
        "Datasets as used. Tied in time: share of interactions that share user and time stamp with another; their "
        "order is the source's row order, so it is arbitrary. Filter: the k of the k-core filter."
    )
    frame = pd.DataFrame([_dataset_numbers(name, summary) for name, summary in summaries.items()])
    return Table("datasets", caption, columns, rows, frame)


def _dataset_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    counts, length = summary["counts"], summary["length"]
    span = f"{integer(length['min'])} to {integer(length['max'])}"
    return {
        "Title": str(summary.get("title") or NOTHING),
        "Users": integer(counts["users"]),
        "Items": integer(counts["items"]),
        "Interactions": integer(counts["interactions"]),
        "Mean length (range)": f"{fixed(length['mean'], 1)} ({span})",
        "Density": share(summary["density"], 3),
        "Items without title": integer(summary["items_without_title"]),
        "Tied in time": share(summary["tied_share"]),
        "Filter": f"{summary['min_count']}-core" if summary["min_count"] else "none",
        "Source files": _sources(summary) or NOTHING,
        "Item text": str(summary.get("text_note") or NOTHING),
        "Placeholder": str(summary.get("placeholder_note") or "no"),
    }


def _sources(summary: Mapping[str, Any]) -> str:
    parts = (
        f"{source['file']} ({source['origin']}, sha256 {source['sha256'][:_DIGEST_LENGTH]})"
        for source in summary.get("sources", [])
    )
    return "; ".join(parts)


def _dataset_numbers(name: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("density", "items_without_title", "tied_share", "min_count", "text_note", "placeholder_note")
    lengths = {f"length_{key}": value for key, value in summary["length"].items()}
    return {
        DATASET: name,
        **summary["counts"],
        **lengths,
        **{key: summary.get(key) for key in kept},
        "sources": _sources(summary),
    }


def protocol_table(
    protocols: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    table: str = "protocols",
    only_differences: bool = False,
) -> Table:
    """What each protocol fixes, one column a protocol, as the run settings describe it."""
    described = {name: _protocol_facts(protocols.get(name, {})) for name in names}
    keys = list(dict.fromkeys(key for values in described.values() for key in values))
    texts = [[described[name].get(key, NOTHING) for name in names] for key in keys]
    if only_differences:
        kept = [place for place, row in enumerate(texts) if len(set(row)) > 1]
        keys, texts = [keys[place] for place in kept], [texts[place] for place in kept]
    rows = [Row([*row_heads(key), *text_cells(*row)]) for key, row in zip(keys, texts, strict=True)]
    frame = pd.DataFrame([[key, *row] for key, row in zip(keys, texts, strict=True)], columns=["setting", *names])
    if only_differences:
        caption = "The settings in which these protocols differ; in all others they are the same."
    else:
        caption = "What each protocol fixes, the same for every method within a table."
    columns = [Column("Setting", numeric=False), *(Column(name, numeric=False) for name in names)]
    return Table(table, caption, columns, rows, frame)


def _protocol_facts(described: Mapping[str, Any]) -> dict[str, str]:
    """Setting -> value in words; where a protocol's `cells` (dataset/backbone) differ, each value with its cells."""
    facts = {str(key): plain(value) for key, value in described.items() if key != "cells"}
    found: dict[str, dict[str, list[str]]] = {}
    cells = described.get("cells", {})
    for cell, values in cells.items():
        for key, value in values.items():
            found.setdefault(str(key), {}).setdefault(plain(value), []).append(cell)
    for key, by_value in found.items():
        shared = len(by_value) == 1 and len(next(iter(by_value.values()))) == len(cells)
        parts = [value if shared else f"{value} ({', '.join(where)})" for value, where in by_value.items()]
        facts[key] = "; ".join(parts)
    return facts


def tuned_table(tuned: Sequence[Mapping[str, Any]]) -> Table:
    """The values chosen on validation, one row a dataset, protocol, backbone and method."""
    names = list(dict.fromkeys(name for row in tuned for name in row["values"]))
    rows, frame = [], []
    previous = None
    for row in tuned:
        key = tuple(str(row[name]) for name in (DATASET, PROTOCOL, BACKBONE, METHOD))
        like = "" if row["like"] == row[METHOD] else f"as {label(str(row['like']))}"
        heads = [*row_heads(*map(label, key[:3])), Cell(label(key[3]), sub=like, head=True)]
        rows.append(
            Row([*heads, *text_cells(*(plain(row["values"].get(name)) for name in names))], opens=key[:3] != previous)
        )
        previous = key[:3]
        frame.append({**{name: row[name] for name in (DATASET, PROTOCOL, BACKBONE, METHOD, "like")}, **row["values"]})
    caption = (
        f"Values chosen on validation NDCG@10 by the stage `tuning`, with the same number of trials for every method. "
        f"“As”: a method that was not searched has another one's. {NOTHING}: the method has no such value."
    )
    columns = columns_of(("Dataset", "Protocol", "Backbone", "Method"), [name.replace("_", " ") for name in names])
    return Table("tuned", caption, columns, rows, pd.DataFrame(frame))


def settings_table(settings: Mapping[str, Any]) -> Table:
    """Any nested settings, one row a value, keys joined by dots."""
    flat = list(_flat(settings))
    rows = [Row([*row_heads(key), *text_cells(value)]) for key, value in flat]
    columns = [Column("Setting", numeric=False), Column("Value", numeric=False)]
    return Table(
        "settings",
        "The run settings as resolved.",
        columns,
        rows,
        pd.DataFrame(flat, columns=["setting", "value"]),
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(value)


ALL_BACKBONES_NOTE = (
    "All backbones: each user's metric is averaged over the backbones before comparing, on the seeds that all have; "
    "these comparisons are a Holm family of their own."
)


def answer_table(results: Results, compared: Comparisons, settings: Mapping[str, Any]) -> Table:
    """IADSR against its backbone and against its controls, in the two metrics of the claim."""
    rows, frame = [], []
    for dataset in results.values(DATASET):
        for protocol in results.values(PROTOCOL, dataset=dataset):
            ranking = own_ranking(protocol, settings)
            for position, backbone in enumerate(compared_backbones(results, dataset, protocol)):
                cells = row_heads(dataset, protocol, label(backbone))
                for metric in CLAIM_METRICS:
                    for baseline in BASELINES:
                        row = compared.method(dataset, protocol, backbone, ranking, metric, "iadsr", baseline)
                        cells.append(gain_cell(row))
                        frame.append(
                            {
                                DATASET: dataset,
                                PROTOCOL: protocol,
                                BACKBONE: backbone,
                                "ranking": ranking,
                                "metric": metric,
                                "method": "iadsr",
                                "baseline_method": baseline,
                                **comparison_numbers(row),
                                "outcome": outcome(row),
                            }
                        )
                rows.append(Row(cells, opens=position == 0))
    titles = [f"{metric} vs {label(baseline)}" for metric in CLAIM_METRICS for baseline in BASELINES]
    caption = (
        "Relative gain of IADSR with its 95 % interval and outcome, under each protocol's own ranking rule; n.s.: no "
        "significant difference. A gain or loss needs a Holm-adjusted p below 0.05 and an interval on that "
        "side of zero. Against none: what the whole method gives. Against its losses with a random mask and without a "
        f"mask: what its choice of items gives. {ALL_BACKBONES_NOTE}"
    )
    return Table("answer", caption, columns_of(("Dataset", "Protocol", "Backbone"), titles), rows, pd.DataFrame(frame))


def gain_cell(row: Mapping[str, Any], with_p: bool = False) -> Cell:
    """A comparison's relative gain and outcome, its interval and, if wanted, the adjusted p below."""
    result = outcome(row)
    if result == "missing":
        return Cell(outcome_text(row), tone="missing")
    words = {"gain": "gain", "loss": "loss", "none": "n.s."}[result]
    text, below = f"{percent(row['relative_gain'])} {words}", percent_interval(row["gain_low"], row["gain_high"])
    if with_p:  # three things to read: a narrow column may break between them only
        text, below, p = (part.replace(" ", "\u00a0") for part in (text, below, f"p {p_value(row['p_holm'])}"))
        below = f"{below}, {p}"
    return Cell(text, sub=below, tone=result)


def comparison_numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a CSV holds of a comparison."""
    return {name: row[name] for name in (*NUMBERS, "status")}


def overall_table(results: Results, settings: Mapping[str, Any], dataset: str, protocol: str, ranking: str) -> Table:
    """Every expected backbone and method: mean and standard deviation over seeds, and gains over `none`."""
    where = {DATASET: dataset, PROTOCOL: protocol}
    values = select(results.metrics, **where, ranking=ranking, group="all")
    seeds = _seed_values(values)
    popular = {metric: results.popular(dataset, ranking, metric) for metric in METRICS}
    known = any(is_number(value) for value in popular.values())
    rows = [_popular_row(popular)] if known else []
    frame = [_popular_record(where, ranking, popular)] if known else []
    for backbone in results.values(BACKBONE, **where):
        methods = results.methods(**where, backbone=backbone)
        found = {method: _method_numbers(seeds, backbone, method) for method in methods}
        best = {
            metric: max((found[m][metric][0] for m in methods if is_number(found[m][metric][0])), default=math.nan)
            for metric in METRICS
        }
        for method in methods:
            cells = select(results.cells, **where, backbone=backbone, method=method)
            rows.append(_overall_row(backbone, method, cells, found[method], best, opens=method == methods[0]))
            frame.append(_overall_record(where, ranking, backbone, method, cells, found[method]))
    titles = [*METRICS, *(f"{metric} vs none" for metric in GAIN_METRICS)]
    columns = [*columns_of(("Backbone", "Method"), titles), Column("Seeds", numeric=False)]
    one = results.cells[SEED].nunique() == 1
    what = "The value of the one seed: no spread is known" if one else "Mean ± standard deviation over seeds"
    caption = (
        f"{context(results, settings, dataset, protocol, ranking)} {what}; the best mean of each backbone is bold (a "
        "mark, not a test). Gains over none are ratios of means over the seeds that both have."
    )
    if known:
        caption += " Most popular: everybody is shown the items with most training interactions; nothing is trained."
    return Table(slug("overall", dataset, protocol, ranking), caption, columns, rows, pd.DataFrame(frame))


def _popular_row(values: Mapping[str, float]) -> Row:
    """The reference that knows nothing of a user but what to leave out."""
    numbers = [Cell(fixed(values[metric])) for metric in METRICS]
    return Row([*row_heads(NOTHING, POPULAR), *numbers, *(Cell(NOTHING) for _ in GAIN_METRICS), Cell(NOTHING)])


def _popular_record(where: Mapping[str, str], ranking: str, values: Mapping[str, float]) -> dict[str, Any]:
    means = {f"{metric} mean": value for metric, value in values.items()}
    return {**where, "ranking": ranking, BACKBONE: "", METHOD: "most_popular", **means}


SeedValues = dict[tuple[str, str, str], dict[int, float]]


def _seed_values(values: pd.DataFrame) -> SeedValues:
    found: SeedValues = {}
    columns = (values[name] for name in (BACKBONE, METHOD, "metric", SEED, "value"))
    for backbone, method, metric, seed, value in zip(*columns, strict=True):
        if is_number(value):
            found.setdefault((backbone, method, metric), {})[int(seed)] = float(value)
    return found


def _method_numbers(seeds: SeedValues, backbone: str, method: str) -> dict[str, tuple[float, float, float]]:
    """Per metric: mean, standard deviation (n - 1), and gain over `none` on common seeds."""
    numbers = {}
    for metric in METRICS:
        own, base = seeds.get((backbone, method, metric), {}), seeds.get((backbone, "none", metric), {})
        common = sorted(own.keys() & base.keys())
        baseline = sum(base[seed] for seed in common)
        gain = sum(own[seed] for seed in common) / baseline - 1 if baseline and method != "none" else math.nan
        series = pd.Series([own[seed] for seed in sorted(own)], dtype=float)
        numbers[metric] = (float(series.mean()), float(series.std()), gain)
    return numbers


def _overall_row(
    backbone: str,
    method: str,
    cells: pd.DataFrame,
    numbers: Mapping[str, tuple[float, float, float]],
    best: Mapping[str, float],
    opens: bool,
) -> Row:
    heads = row_heads(label(backbone), label(method))
    if not (cells["status"] == DONE).any():
        width = len(METRICS) + len(GAIN_METRICS)
        return Row([*heads, Cell(cell_notes(cells), span=width, tone="missing"), Cell(seed_note(cells))], opens)
    values = [
        Cell(fixed(numbers[metric][0]), sub=spread(numbers[metric][1]), best=numbers[metric][0] == best[metric])
        for metric in METRICS
    ]
    gains = [Cell(percent(numbers[metric][2])) for metric in GAIN_METRICS]
    note = Cell(seed_note(cells), tone="" if (cells["status"] == DONE).all() else "missing")
    return Row([*heads, *values, *gains, note], opens)


def seed_note(cells: pd.DataFrame) -> str:
    """Seeds done of those expected, with the reasons of the others, unless none is done: then they stand elsewhere."""
    done = int((cells["status"] == DONE).sum())
    notes = cell_notes(cells) if done else ""
    return f"{done}/{len(cells)}{'; ' + notes if notes else ''}"


def _overall_record(
    where: Mapping[str, str],
    ranking: str,
    backbone: str,
    method: str,
    cells: pd.DataFrame,
    numbers: Mapping[str, tuple[float, float, float]],
) -> dict[str, Any]:
    record: dict[str, Any] = {**where, "ranking": ranking, BACKBONE: backbone, METHOD: method}
    for metric in METRICS:
        record[f"{metric} mean"], record[f"{metric} sd"], record[f"{metric} gain over none"] = numbers[metric]
    return {
        **record,
        "seeds_done": int((cells["status"] == DONE).sum()),
        "seeds_expected": len(cells),
        "note": cell_notes(cells),
    }


BESIDE_METRICS = {"coverage@10": "Coverage@10", "tied_share": "Tied targets"}


def beside_table(results: Results, settings: Mapping[str, Any], dataset: str, protocol: str) -> Table | None:
    """Coverage and tied targets of every expected method, under both ranking rules; None if no run says."""
    where = {DATASET: dataset, PROTOCOL: protocol}
    values = select(results.metrics, **where, group="all")
    values = values[values["metric"].isin(BESIDE_METRICS)]
    if not values["value"].notna().any():
        return None
    order = [(metric, ranking) for metric in BESIDE_METRICS for ranking in rankings(protocol, settings)]
    grouped = values.groupby([BACKBONE, METHOD, "metric", "ranking"])["value"]
    means, deviations = grouped.mean().to_dict(), grouped.std().to_dict()
    rows, frame = [], []
    for backbone in results.values(BACKBONE, **where):
        methods = results.methods(**where, backbone=backbone)
        for method in methods:
            cells = select(results.cells, **where, backbone=backbone, method=method)
            pairs = [
                (means.get((backbone, method, *key), math.nan), deviations.get((backbone, method, *key), math.nan))
                for key in order
            ]
            body = [
                Cell(share(mean), sub=f"±\u202f{share(deviation)}" if is_number(deviation) else "")
                for mean, deviation in pairs
            ]
            if not (cells["status"] == DONE).any():
                body = [Cell(cell_notes(cells), span=len(order), tone="missing")]
            rows.append(Row([*row_heads(label(backbone), label(method)), *body], opens=method == methods[0]))
            named = zip(order, pairs, strict=True)
            frame.append(
                {
                    **where,
                    BACKBONE: backbone,
                    METHOD: method,
                    **{
                        f"{metric} {ranking} {part}": number
                        for (metric, ranking), pair in named
                        for part, number in zip(("mean", "sd"), pair, strict=True)
                    },
                }
            )
    columns = [
        *columns_of(("Backbone", "Method"), ()),
        *(Column(BESIDE_METRICS[metric], sub=label(ranking)) for metric, ranking in order),
    ]
    caption = (
        f"{context(results, settings, dataset, protocol)} Coverage@10: share of the catalogue in anybody's first ten. "
        "Tied targets: share of users whose test item has exactly the score of another candidate; its rank is then the "
        "expected one under random order. Mean and standard deviation over seeds."
    )
    return Table(slug("coverage", dataset, protocol), caption, columns, rows, pd.DataFrame(frame))


PULL = "gradient_"  # columns of the curves: gradient_<loss>_<part>
_PARTS = ("mask", "project", "decode", "backbone", "table")
NOT_FIGURES = (*ADDRESS, "epoch", "validation", "seconds")


def at_best_epoch(results: Results) -> pd.DataFrame:
    """The rows of the curves at the kept epochs of runs that are done."""
    best = results.curves.merge(done_only(results.cells)[[*ADDRESS, "best_epoch"]], on=list(ADDRESS))
    return best[best["epoch"] == best["best_epoch"]]


def pulls_table(results: Results) -> Table | None:
    """How hard each weighted loss pulls at each part of a model, at the kept epoch; None if no run logged it.

    One row a loss: the norms of its gradients into the parts, a column each.
    """
    best = at_best_epoch(results)
    keys = [DATASET, PROTOCOL, BACKBONE, METHOD]
    losses = [str(name).removeprefix("loss_") for name in best if str(name).startswith("loss_")]
    norms = {
        (loss, name.removeprefix(f"{PULL}{loss}_")): name
        for loss in losses
        for name in map(str, best)
        if name.startswith(f"{PULL}{loss}_") and np.isfinite(pd.to_numeric(best[name])).any()
    }
    if not norms:
        return None
    found = [part for _, part in norms]
    parts = [*(name for name in _PARTS if name in found), *sorted(set(found) - set(_PARTS))]
    grouped = best.groupby(keys)[list(norms.values())].mean()
    means = {tuple(map(str, key)): row for key, row in zip(grouped.index, records(grouped), strict=True)}
    rows, frame = [], []
    for address, _ in results.cells.groupby(keys, sort=False):
        key = tuple(str(part) for part in address)
        own, opens = means.get(key, {}), True
        for loss in losses:
            values = [own.get(norms.get((loss, part), ""), math.nan) for part in parts]
            if any(map(is_number, values)):
                heads = row_heads(*map(label, key), loss)
                rows.append(Row([*heads, *(Cell(significant(value)) for value in values)], opens=opens))
                record = dict(zip((*keys, *parts), (*key, *values), strict=True))
                frame.append({**record, "loss": loss})
                opens = False
    caption = (
        "How hard each loss, as it is weighed, pulls at each part of the model: the norm of its gradient in the first "
        f"step of the kept epoch, mean over seeds. {NOTHING}: the method has no such part. A mask that the losses do "
        "not pull at cannot learn; one that the recommendation loss does not pull at learns nothing of recommending."
    )
    columns = columns_of(("Dataset", "Protocol", "Backbone", "Method", "Loss"), parts)
    return Table("pulls", caption, columns, rows, pd.DataFrame(frame))


def logged_table(results: Results) -> Table:
    """Every loss part and figure that the methods logged, under its own name, at each run's best epoch."""
    curves = results.curves
    logged = [str(name) for name in curves if name not in NOT_FIGURES and not str(name).startswith(PULL)]
    names = [name for name in logged if np.isfinite(pd.to_numeric(curves[name])).any()]
    keys = [DATASET, PROTOCOL, BACKBONE, METHOD]
    best = at_best_epoch(results)
    means = best[names].where(np.isfinite(best[names])).groupby([best[key] for key in keys]).mean()
    known = {tuple(map(str, key)): row for key, row in zip(means.index, means.to_numpy().tolist(), strict=True)}
    rows, frame = [], []
    previous = None
    for address, cells in results.cells.groupby(keys, sort=False):
        key = tuple(str(part) for part in address)
        numbers = known.get(key, [math.nan] * len(names))
        body = [Cell(fixed(number)) for number in numbers]
        if key not in known and names:
            body = [Cell(cell_notes(cells) or "no epoch", span=len(names), tone="missing")]
        rows.append(Row([*row_heads(*map(label, key)), *body], opens=key[:3] != previous))
        previous = key[:3]
        frame.append({**dict(zip(keys, key, strict=True)), **dict(zip(names, numbers, strict=True))})
    caption = (
        "Everything that the methods logged while training, by the name that each gave it: parts of the loss as they "
        f"are weighed and added, traced figures. At the best epoch, mean over seeds; {NOTHING}: the method has no such "
        "figure."
    )
    columns = columns_of(("Dataset", "Protocol", "Backbone", "Method"), [name.replace("_", " ") for name in names])
    return Table("logged", caption, columns, rows, pd.DataFrame(frame))


def effects_table(results: Results, compared: Comparisons, settings: Mapping[str, Any], dataset: str) -> Table:
    """NDCG@10: the method effects under each protocol, and the protocol effect without a denoiser."""
    rows, frame = [], []
    backbones = results.values(BACKBONE, dataset=dataset)
    for protocol in results.values(PROTOCOL, dataset=dataset):
        ranking = own_ranking(protocol, settings)
        for number, (method, baseline) in enumerate(shown_pairs(results, dataset, protocol)):
            for position, backbone in enumerate(compared_backbones(results, dataset, protocol)):
                row = compared.method(dataset, protocol, backbone, ranking, "NDCG@10", method, baseline)
                what = f"{label(method)} vs {label(baseline)}"
                rows.append(_effect_row(what, protocol, ranking, backbone, row, number == position == 0))
                frame.append(
                    {
                        "effect": what,
                        PROTOCOL: protocol,
                        "ranking": ranking,
                        BACKBONE: backbone,
                        **_renamed(row),
                    }
                )
    for protocol, baseline in compared.protocol_pairs(dataset):
        for ranking in ("excluded", "kept"):
            for position, backbone in enumerate(backbones):
                row = compared.protocol(dataset, backbone, ranking, "NDCG@10", protocol, baseline)
                what = f"{protocol} vs {baseline}, no denoiser"
                rows.append(_effect_row(what, "both", ranking, backbone, row, position == 0))
                frame.append(
                    {
                        "effect": what,
                        PROTOCOL: "both",
                        "ranking": ranking,
                        BACKBONE: backbone,
                        **_renamed(row),
                    }
                )
    caption = (
        f"Dataset {dataset}; encoder {encoder_text(results, dataset)}. NDCG@10: what the method "
        "changes within a protocol (under the protocol's own ranking rule), and what the protocol changes with no "
        "denoiser (under one ranking rule on both sides). "
        f"{ALL_BACKBONES_NOTE}"
    )
    columns = [
        *columns_of(
            ("Effect", "Protocol", "Ranking", "Backbone"),
            ("Baseline", "Value", "Difference", "Relative gain and 95 % interval"),
        ),
        Column("Outcome", numeric=False),
    ]
    return Table(slug("effects", dataset), caption, columns, rows, pd.DataFrame(frame))


def shown_pairs(results: Results, dataset: str, protocol: str) -> list[tuple[str, str]]:
    """The method pairs of the effect figure that this grid can hold."""
    methods = set(results.methods(dataset=dataset, protocol=protocol))
    return [pair for pair in PAIRS if set(pair) <= methods]


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    numbers = comparison_numbers(row)
    return {"effect_dz" if name == "effect" else name: value for name, value in numbers.items()} | {
        "outcome": outcome(row)
    }


def _effect_row(what: str, protocol: str, ranking: str, backbone: str, row: Mapping[str, Any], opens: bool) -> Row:
    heads = row_heads(what, protocol, label(ranking), label(backbone))
    if outcome(row) == "missing":
        return Row([*heads, Cell(outcome_text(row), span=5, tone="missing")], opens)
    gain = Cell(percent(row["relative_gain"]), sub=percent_interval(row["gain_low"], row["gain_high"]))
    numbers = text_cells(fixed(row["baseline_mean"]), fixed(row["mean"]), signed(row["difference"]))
    return Row([*heads, *numbers, gain, _outcome_cell(row)], opens)


def _outcome_cell(row: Mapping[str, Any]) -> Cell:
    text = outcome_text(row) + (" (test and interval disagree)" if disagreement(row) else "")
    return Cell(text, sub=lost_seeds(row), tone=outcome(row))


def tests_table(
    results: Results, compared: Comparisons, settings: Mapping[str, Any], dataset: str, protocol: str
) -> Table:
    """Paired tests in the claim's metrics and NDCG@10, under the protocol's own ranking rule."""
    ranking = own_ranking(protocol, settings)
    rows, frame = [], []
    for method, baseline in test_pairs(results, dataset, protocol):
        for number, metric in enumerate(GAIN_METRICS):
            for position, backbone in enumerate(compared_backbones(results, dataset, protocol)):
                row = compared.method(dataset, protocol, backbone, ranking, metric, method, baseline)
                what = f"{label(method)} vs {label(baseline)}"
                rows.append(_test_row(what, metric, backbone, row, number == position == 0))
                frame.append(
                    {
                        "method": method,
                        "baseline_method": baseline,
                        "metric": metric,
                        BACKBONE: backbone,
                        **comparison_numbers(row),
                        "family": row.get("family"),
                        "outcome": outcome(row),
                    }
                )
    columns = [
        *columns_of(
            ("Comparison", "Metric", "Backbone"),
            (
                "Difference and 95 % interval",
                "p",
                "Holm p",
                "Effect dz",
                "Wins / ties / losses",
                "Sd over seeds",
                "Seeds",
            ),
        ),
        Column("Outcome", numeric=False),
    ]
    caption = (
        f"{context(results, settings, dataset, protocol, ranking)} Paired by user. Interval: hierarchical "
        "bootstrap, seeds then users. p: two-sided paired test on each user's mean over seeds; Holm p: adjusted within "
        "the declared family. Effect: Cohen's dz. Wins and losses count users. "
        f"{ALL_BACKBONES_NOTE}"
    )
    return Table(slug("tests", dataset, protocol), caption, columns, rows, pd.DataFrame(frame))


def test_pairs(results: Results, dataset: str, protocol: str) -> list[tuple[str, str]]:
    """The effect figure's pairs, then every further pair that was compared."""
    pairs = shown_pairs(results, dataset, protocol)
    found = select(results.comparisons, kind="method", dataset=dataset, protocol=protocol)
    return list(dict.fromkeys([*pairs, *zip(found[METHOD], found["baseline_method"], strict=True)]))


def _test_row(what: str, metric: str, backbone: str, row: Mapping[str, Any], opens: bool) -> Row:
    heads = row_heads(what, metric, label(backbone))
    if outcome(row) == "missing":
        return Row([*heads, Cell(outcome_text(row), span=8, tone="missing")], opens)
    difference = Cell(signed(row["difference"]), sub=interval(row["ci_low"], row["ci_high"]))
    numbers = text_cells(
        p_value(row["p"]),
        p_value(row["p_holm"]),
        signed(row["effect"], 3),
        f"{integer(row['wins'])} / {integer(row['ties'])} / {integer(row['losses'])}",
        fixed(row["seed_sd"]),
        integer(row["seeds"]),
    )
    return Row([*heads, difference, *numbers, _outcome_cell(row)], opens)


def group_label(group: str) -> str:
    """`cold` or `D1` (least popular) to `D10`."""
    return group.replace("decile_", "D")


def groups_table(results: Results, settings: Mapping[str, Any], dataset: str, protocol: str) -> Table:
    """NDCG@10 for cold targets and by popularity decile of the target; HR@10 too for cold targets."""
    where = {DATASET: dataset, PROTOCOL: protocol}
    ranking = own_ranking(protocol, settings)
    values = select(results.metrics, **where, ranking=ranking)
    values = values[values["metric"].isin(["NDCG@10", "HR@10"]) & values["group"].isin(GROUPS)]
    means = values.groupby([BACKBONE, METHOD, "metric", "group"])["value"].mean().to_dict()
    users = values.groupby("group")["users"].max().to_dict()
    wanted = [("HR@10", "cold"), *(("NDCG@10", group) for group in GROUPS)]
    rows, frame = [], []
    for backbone in results.values(BACKBONE, **where):
        methods = results.methods(**where, backbone=backbone)
        for method in methods:
            heads, cells = (
                row_heads(label(backbone), label(method)),
                select(results.cells, **where, backbone=backbone, method=method),
            )
            numbers = [means.get((backbone, method, *key), math.nan) for key in wanted]
            if not (cells["status"] == DONE).any():
                rows.append(
                    Row(
                        [*heads, Cell(cell_notes(cells), span=len(wanted), tone="missing")],
                        method == methods[0],
                    )
                )
            else:
                rows.append(Row([*heads, *text_cells(*(fixed(number) for number in numbers))], method == methods[0]))
            frame.append(
                {
                    **where,
                    "ranking": ranking,
                    BACKBONE: backbone,
                    METHOD: method,
                    **{f"{metric} {group}": number for (metric, group), number in zip(wanted, numbers, strict=True)},
                }
            )
    columns = [
        Column(f"HR@10 {group}" if metric == "HR@10" else group_label(group), sub=f"n={integer(users.get(group))}")
        for metric, group in wanted
    ]
    caption = (
        f"{context(results, settings, dataset, protocol, ranking)} Means over seeds by the target's "
        f"popularity, NDCG@10 unless HR@10 is said: cold = at most {COLD_LIMIT} training interactions; D1 holds the "
        "least popular targets, D10 the most popular; n = test users."
    )
    return Table(
        slug("popularity", dataset, protocol),
        caption,
        [*columns_of(("Backbone", "Method"), ()), *columns],
        rows,
        pd.DataFrame(frame),
    )


def known_columns(cells: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The columns that hold any number."""
    return [name for name in names if cells[name].notna().any()]


def mask_table(cells: pd.DataFrame) -> Table:
    """What the masks did, for every expected method that drops interactions (all but `none`)."""
    masked = cells[cells[METHOD] != "none"]
    names = [*MASK_COLUMNS[:4], *known_columns(masked, MASK_COLUMNS[4:])]  # the rest: where noise is known
    rows, frame = [], []
    keys = [DATASET, PROTOCOL, BACKBONE, METHOD]
    previous = None
    for address, group in masked.groupby(keys, sort=False):
        key = tuple(str(part) for part in address)
        done = done_only(group)
        stats = {name: mean_and_sd(done[name]) for name in names}
        heads = row_heads(*(label(part) for part in key))
        numbers = [Cell(fixed(stats[name][0], 3), sub=spread(stats[name][1], 3)) for name in names]
        body = numbers if len(done) else [Cell(cell_notes(group), span=len(names), tone="missing")]
        rows.append(Row([*heads, *body], opens=key[:3] != previous))
        previous = key[:3]
        flat = {
            f"{name}_{part}": value for name in names for part, value in zip(("mean", "sd"), stats[name], strict=True)
        }
        frame.append({**dict(zip(keys, key, strict=True)), **flat, "note": cell_notes(group)})
    caption = (
        "Mask statistics, mean ± standard deviation over seeds. Kept: share of input interactions whose "
        "mask is 1. Past the gate: share of sequences whose cross-modal similarity exceeds theta. Noise AUC: how well "
        "the score ranks known noise below true interactions (0.5 is chance); untrained: by the same network before "
        "its first step."
    )
    if len(names) > 4:
        caption += f" {DROP_NOTE}"
    return Table(
        "masks",
        caption,
        columns_of(("Dataset", "Protocol", "Backbone", "Method"), [MASK_COLUMN_TITLES[name] for name in names]),
        rows,
        pd.DataFrame(frame),
    )


def cost_by_method_table(cells: pd.DataFrame) -> Table:
    """What a run of each method costs, beside `none` under the same protocol with the same backbone."""
    keys = [DATASET, PROTOCOL, BACKBONE, METHOD]
    rows, frame, alone = [], [], {}
    previous = None
    for address, group in sorted(cells.groupby(keys, sort=False), key=lambda item: item[0][3] != "none"):
        alone[address] = pd.to_numeric(done_only(group)["seconds_total"]).mean()
    for address, group in cells.groupby(keys, sort=False):
        key = tuple(str(part) for part in address)
        done = done_only(group)
        means = {name: pd.to_numeric(done[name]).mean() for name in ("epochs", "best_epoch", "seconds_epoch")}
        seconds = alone[address]
        ratio = seconds / alone.get((*key[:3], "none"), math.nan)
        numbers = (
            fixed(means["epochs"], 0),
            fixed(means["best_epoch"], 1),
            fixed(means["seconds_epoch"], 2),
            fixed(seconds, 1),
            fixed(ratio, 2),
        )
        body = text_cells(*numbers) if len(done) else [Cell(cell_notes(group), span=len(numbers), tone="missing")]
        rows.append(Row([*row_heads(*map(label, key)), *body, Cell(str(len(done)))], opens=key[:3] != previous))
        previous = key[:3]
        costs = {**means, "seconds_total": seconds, "times_none": ratio, "runs": len(done)}
        frame.append({**dict(zip(keys, key, strict=True)), **costs})
    totals = [
        f"“{protocol}” {fixed(float(part.sum()) / 3600, 2)} hours"
        for protocol, part in pd.to_numeric(cells["seconds_total"]).groupby(cells[PROTOCOL], sort=False)
    ]
    caption = (
        "What a run costs, mean over the seeds that are done: epochs of the budget, the epoch that was kept, seconds "
        f"an epoch (validation included) and a run, and the latter beside {label('none')}. All runs of a protocol: "
        f"{listed(totals)}, a job at a time. Compare only runs of one machine, equally busy."
    )
    numeric = ("Epochs", "Kept epoch", "Seconds an epoch", "Seconds a run", f"Times {label('none')}", "Runs")
    columns = columns_of(("Dataset", "Protocol", "Backbone", "Method"), numeric)
    return Table("costs", caption, columns, rows, pd.DataFrame(frame))


def cost_table(cells: pd.DataFrame) -> Table:
    """One row per expected cell, whatever became of it."""
    rows = []
    previous = None
    for cell in records(cells):
        heads = row_heads(*(label(str(cell[name])) for name in (DATASET, PROTOCOL, BACKBONE, METHOD)), str(cell[SEED]))
        state = str(cell["status"]) + (f": {cell['reason']}" if cell["reason"] else "")
        tone = "" if cell["status"] == DONE else "missing"
        numbers = text_cells(
            integer(cell["epochs"]),
            integer(cell["best_epoch"]),
            fixed(cell["best_validation"]),
            fixed(cell["seconds_total"], 1),
            fixed(cell["seconds_epoch"], 2),
            integer(cell["peak_memory_mb"]),
            integer(cell["parameters"]),
        )
        objective = cell["objective"] if isinstance(cell["objective"], str) else NOTHING
        identity = cell["identity"][:_DIGEST_LENGTH] if isinstance(cell["identity"], str) else NOTHING
        block = tuple(cell[name] for name in (DATASET, PROTOCOL, BACKBONE))
        rows.append(
            Row(
                [*heads, Cell(state, tone=tone), *text_cells(objective), *numbers, *text_cells(identity)],
                opens=block != previous,
            )
        )
        previous = block
    numeric = (
        "Epochs",
        "Best epoch",
        "Best validation NDCG@10",
        "Seconds",
        "Seconds an epoch",
        "Peak MB",
        "Parameters",
    )
    columns = [
        *columns_of(("Dataset", "Protocol", "Backbone", "Method", "Seed", "Status", "Objective"), numeric),
        Column("Identity", numeric=False),
    ]
    total = pd.to_numeric(cells["seconds_total"]).sum()
    caption = (
        f"Every expected run and what it cost: {counted(len(cells), 'run')}, {fixed(total / 3600, 2)} hours of "
        f"training in all. Identity: the first {_DIGEST_LENGTH} digits; whole in the CSV."
    )
    return Table("runs", caption, columns, rows, cells.copy())


def environment_table(made: Iterable[Mapping[str, Any]], name: str = "environments") -> Table:
    """The distinct environments of the runs, and how many runs each made."""
    counts: dict[tuple[str, ...], int] = {}
    for record in made:
        commit = record.get("commit") or {}
        state = {True: "uncommitted changes", False: "clean", None: "state unknown"}[commit.get("dirty")]
        key = (
            f"{str(commit.get('hash') or 'no commit')[:_DIGEST_LENGTH]} ({state})",
            str(record.get("device")),
            plain(record.get("threads")),
            str(record.get("machine")),
            plain(record.get("versions", {})),
        )
        counts[key] = counts.get(key, 0) + 1
    names = ("Commit", "Device", "Threads", "Machine", "Versions")
    rows = [Row([*text_cells(*key), Cell(str(number))]) for key, number in counts.items()]
    frame = pd.DataFrame(
        [{**dict(zip(names, key, strict=True)), "Runs": number} for key, number in counts.items()],
        columns=[*names, "Runs"],
    )
    columns = [*(Column(name, numeric=False) for name in names), Column("Runs")]
    return Table(name, "Where the runs were made, one row a distinct environment.", columns, rows, frame)


def digest_table(results: Results) -> Table:
    """The distinct digests of inputs and source code, and how many runs used each."""
    counts: dict[tuple[str, str, str], int] = {}
    for address, record in results.records.items():
        named = [("source code", record.get("source_digest")), *dict(record.get("inputs") or {}).items()]
        for name, digest in named:
            key = (address[0], str(name), str(digest))
            counts[key] = counts.get(key, 0) + 1
    names = ("Dataset", "What", "SHA-256")
    order = sorted(counts, key=lambda key: (key[0], key[1] != "source code", key[1:]))
    rows = [Row([*row_heads(*key[:2]), *text_cells(key[2], str(counts[key]))]) for key in order]
    frame = pd.DataFrame(
        [{**dict(zip(names, key, strict=True)), "Runs": counts[key]} for key in order],
        columns=[*names, "Runs"],
    )
    caption = (
        "Digests of what the runs read and of the source code that they could import. Several source digests on one "
        "dataset are expected: a backbone or method has its own."
    )
    return Table("digests", caption, [*(Column(name, numeric=False) for name in names), Column("Runs")], rows, frame)


def encoder_table(encoders: pd.DataFrame) -> Table:
    """Which encoder made the item embeddings."""
    titles = {
        "encoder": "Encoder",
        "model": "Model",
        "revision": "Revision",
        "pooling": "Pooling",
        "dimension": "Dimension",
        "options": "Options",
        "used": "Runs",
    }
    rows = [
        Row([*row_heads(row[DATASET]), *text_cells(*(str(row[name]) or NOTHING for name in titles))])
        for row in records(encoders)
    ]
    columns = [
        Column("Dataset", numeric=False),
        *(Column(title, numeric=title in ("Dimension", "Runs")) for title in titles.values()),
    ]
    caption = (
        "Encoders of the item texts. Options: those that differ from the defaults of the encoder's kind. Results of "
        "one encoder never stand for another's."
    )
    return Table("encoders", caption, columns, rows, encoders.copy())

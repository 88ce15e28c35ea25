"""The section of the experiments: for each its question, what came of it by its view, and how its masks behaved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from iadsr.core.columns import BACKBONE, DATASET, PROTOCOL
from iadsr.reporting import budgets, diagnostics, experiment_figures, experiment_tables
from iadsr.reporting.answer import Evidence, tally
from iadsr.reporting.experiment import FLOOR_METRIC, Experiment
from iadsr.reporting.experiment_tables import RUNG_METRICS, TEST_METRICS, spread_of
from iadsr.reporting.layout import Block
from iadsr.reporting.load import (
    Results,
    Scores,
    done_only,
    lost_counts,
    mean_and_sd,
    own_ranking,
    protocol_values,
    select,
)
from iadsr.reporting.tables import dataset_table, protocol_table
from iadsr.reporting.words import counted, fixed, is_number, label, listed, signed, slug

_CLEARLY = 2.0  # a gain counts as larger than the noise from so many standard deviations on


def experiment_blocks(experiments: Sequence[Experiment], main: Results, numbers: Iterator[int]) -> list[Block]:
    """The whole section, experiment by experiment; `main` is the main grid."""
    made = []
    for experiment in experiments:
        draw = _VIEWS[experiment.view if experiment.points or experiment.view != "sweep" else "table"]
        anchor = slug("experiment", experiment.name)
        made.append(Block(experiment.title, text=f"{experiment.question} {_facts(experiment, main)}", anchor=anchor))
        made += [Block(text=text) for text in findings(experiment, main)]
        made += draw(experiment, numbers)
        made += _differences(experiment)
        made += _further_data(experiment, main)
        made += _diagnostics(experiment, numbers)
    return made


def _facts(experiment: Experiment, main: Results) -> str:
    """Baseline, runs done and lost, and how many of them are the main grid's own."""
    cells = experiment.results.cells
    runs = f"{len(done_only(cells))} of {counted(len(cells), 'run')} done"
    shared = len(set(experiment.results.record_paths) & set(main.record_paths))
    own = f"; {shared} of them belong to the main grid too" if shared else ""
    return f"Baseline: {label(experiment.baseline)}. {'; '.join([runs, *lost_counts(cells)])}{own}."


def findings(experiment: Experiment, main: Results) -> list[str]:
    """The outcome in a sentence or two, worked out from the tables."""
    if experiment.view == "spread":
        return spread_sentences(experiment, main)
    if experiment.view == "budget":
        return budgets.budget_sentences(experiment)
    base, found = label(experiment.baseline), []
    told = ladder_sentences(experiment) if experiment.view == "ladder" else []
    told += [*released_sentences(experiment), *auc_sentences(experiment)]
    for metric in TEST_METRICS:
        items = [
            Evidence(dataset, protocol, backbone, metric, experiment.ranking(protocol), row)
            for dataset in experiment.datasets()
            for protocol in experiment.protocols(dataset)
            for backbone in experiment.backbones(dataset, protocol=protocol)
            if can_answer(experiment, dataset, protocol, backbone)
            for method in experiment.methods(dataset=dataset, protocol=protocol, backbone=backbone)
            if method != experiment.baseline
            for row in [experiment.against(dataset, protocol, backbone, method, metric)]
        ]
        tested = [item for item in items if not item.row.get("same_as")]
        if tested:
            again = f" ({len(items) - len(tested)} further with the very same runs)" if len(items) > len(tested) else ""
            found.append(f"{metric} against {base}: {tally(tested)}{again}.")
    return [*told, " ".join(found)] if found else told


def auc_sentences(experiment: Experiment) -> list[str]:
    """Where noise is known: whether training makes IADSR's mask tell it from the rest."""
    said = []
    known = done_only(experiment.results.cells).dropna(subset=["noise_auc", "untrained_auc"])
    for (dataset, protocol), block in select(known, method="iadsr").groupby([DATASET, PROTOCOL], sort=False):
        parts = []
        for backbone, own in block.groupby(BACKBONE, sort=False):
            raised = int((own["noise_auc"] > own["untrained_auc"]).sum())
            before, after = (fixed(float(own[name].astype(float).mean()), 3) for name in ("untrained_auc", "noise_auc"))
            parts.append(
                f"{before} to {after} with {label(str(backbone))} (raised in {raised} of {counted(len(own), 'run')})"
            )
        said.append(
            f"{dataset}, “{protocol}”: from before training to the kept epoch, the AUC with which IADSR's mask tells "
            f"known noise goes from {listed(parts)}; 0.5 is chance."
        )
    return said


def can_answer(experiment: Experiment, dataset: str, protocol: str, backbone: str) -> bool:
    """Whether methods can be compared here: under the release's networks, only above the most-popular baseline.

    Below it, training with in-batch negatives has taught nothing of a user's history that a denoiser could help with.
    """
    return not experiment.is_released(protocol) or experiment.floor(dataset, protocol, backbone).is_beaten


def released_sentences(experiment: Experiment) -> list[str]:
    """Where the release's networks were trained: whether they learned enough for an answer."""
    said = []
    for dataset in experiment.datasets():
        for protocol in filter(experiment.is_released, experiment.protocols(dataset)):
            for backbone in experiment.backbones(dataset, protocol=protocol):
                floor = experiment.floor(dataset, protocol, backbone)
                where = f"{dataset}, “{protocol}”, {label(backbone)}"
                if not is_number(floor.value):
                    said.append(f"{where} cannot answer: {label(floor.method)} has no result.")
                elif not is_number(floor.popular):
                    said.append(f"{where} cannot answer: what the most popular items alone reach is not known.")
                else:
                    numbers = (
                        f"{label(floor.method)} reaches {FLOOR_METRIC} {fixed(floor.value)}, the most popular items "
                        f"alone {fixed(floor.popular)}"
                    )
                    said.append(
                        f"{where} can answer: {numbers}."
                        if floor.is_beaten
                        else f"{where} cannot answer: {numbers}, so a difference between methods says nothing about "
                        "denoising; it is shown and not counted."
                    )
    return said


def ladder_sentences(experiment: Experiment) -> list[str]:
    """How far the baseline goes up a ladder, and how far any method departs from it on one rung."""
    said = [
        _ladder_sentence(experiment, dataset, backbone, metric)
        for dataset in experiment.datasets()
        for backbone in experiment.backbones(dataset)
        for metric in RUNG_METRICS
    ]
    return [sentence for sentence in said if sentence]


def _ladder_sentence(experiment: Experiment, dataset: str, backbone: str, metric: str) -> str:
    """Nothing unless the baseline has two rungs."""
    by_rung = {
        method: {
            rung: values
            for rung, protocol in enumerate(experiment.protocols(dataset), start=1)
            if (values := experiment.values(dataset, protocol, backbone, method, metric))
        }
        for method in experiment.methods(dataset=dataset, backbone=backbone)
    }
    none = by_rung.pop(experiment.baseline, {})
    if len(none) < 2:
        return ""
    first, last = min(none), max(none)
    begin, end = (mean_and_sd(none[rung].values())[0] for rung in (first, last))
    base = label(experiment.baseline)
    text = (
        f"{dataset}, {label(backbone)}, {metric}: from rung {first} to rung {last}, {base} goes from {fixed(begin)} to "
        f"{fixed(end)}, a difference of {signed(end - begin)} that no method made."
    )
    parts = []
    for method, rungs in by_rung.items():
        gains = {
            rung: mean_and_sd(values[seed] - none[rung][seed] for seed in values.keys() & none[rung].keys())[0]
            for rung, values in rungs.items()
            if rung in none and values.keys() & none[rung].keys()
        }
        if gains:
            most, final = max(gains, key=lambda rung: gains[rung]), max(gains)
            parts.append(
                f"{label(method)} {signed(gains[most])} on rung {most} and {signed(gains[final])} on rung {final}"
            )
    return f"{text} Against {base} on the same rung, at most and at last: {'; '.join(parts)}." if parts else text


def spread_sentences(experiment: Experiment, main: Results) -> list[str]:
    """Is any gain of IADSR over none in the main grid clear of the spread over protocols, and of that over seeds?

    A gain is set against its own backbone's spread, that of `none` or of IADSR, whichever is larger, under the main
    grid's protocols that the experiment holds, or under all of them if it holds none. With one seed in the experiment
    the spread over seeds is the main grid's. Backbones that the experiment leaves out do not count.
    """
    said = []
    for dataset in experiment.datasets():
        if lacks_ties(experiment, dataset):
            said.append(
                f"{dataset} cannot answer: no two interactions of a user share a time, so there is no order to shuffle "
                "and every protocol here trains on the same data."
            )
        else:
            said += [_spread_sentence(experiment, main, dataset, metric) for metric in TEST_METRICS]
    return said


def lacks_ties(experiment: Experiment, dataset: str) -> bool:
    """Whether an experiment shuffles ties in time that the dataset does not have."""
    shuffled = any(
        key == "tie_break" and value
        for protocol in experiment.protocols(dataset)
        for key, value in protocol_values(protocol, experiment.settings)
    )
    return shuffled and experiment.results.summaries[dataset]["tied_share"] == 0


def _spread_sentence(experiment: Experiment, main: Results, dataset: str, metric: str) -> str:
    spreads = {
        backbone: [
            spread_of(experiment, dataset, backbone, method, metric)
            for method in experiment.methods(dataset=dataset, backbone=backbone)
            if method in ("none", "iadsr")
        ]
        for backbone in experiment.backbones(dataset)
    }
    gains, main_sds = _main_gains(experiment, main, dataset, metric)
    own_sds = _largest({backbone: [item.seed_sd for item in found] for backbone, found in spreads.items()})
    sds = {
        "protocols": _largest({backbone: [item.sd for item in found] for backbone, found in spreads.items()}),
        "seeds": own_sds or main_sds,
    }
    over, seeds = (_range(list(known.values()), fixed) for known in sds.values())
    count = counted(len(experiment.protocols(dataset)), "protocol")
    whose = " of the main grid" if main_sds and not own_sds else ""
    text = (
        f"{dataset}, {metric}: the standard deviation of a backbone is {over} over {count}, {seeds} over seeds{whose}"
    )
    if not gains:
        return f"{text}; the main grid has no gain of IADSR over none to set against it."
    protocols = listed([f"“{name}”" for name in dict.fromkeys(protocol for protocol, _ in gains)])
    text += f". In the main grid (protocol {protocols}) IADSR minus none is {_range(list(gains.values()), signed)}"
    return f"{text}: {listed([_clear_gains(gains, known, name) for name, known in sds.items()])}."


def _largest(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The largest number of each; nothing for those without any."""
    known = {name: [value for value in found if is_number(value)] for name, found in values.items()}
    return {name: max(found) for name, found in known.items() if found}


def _clear_gains(gains: Mapping[tuple[str, str], float], spread: Mapping[str, float], name: str) -> str:
    """`1 of 3 gains (SASRec) is larger than twice the spread over seeds`; gains without a known spread do not count."""
    known = {at: gain for at, gain in gains.items() if at[1] in spread}
    if not known:
        return f"the spread over {name} is unknown"
    larger = [label(backbone) for (_, backbone), gain in known.items() if gain > _CLEARLY * spread[backbone]]
    who = f" ({listed(list(dict.fromkeys(larger)))})" if larger else ""
    verb = "are" if len(larger) > 1 else "is"
    number = str(len(larger) or "none")
    return f"{number} of {counted(len(known), 'gain')}{who} {verb} larger than twice the spread over {name}"


def _range(values: Sequence[float], write: Callable[[float], str]) -> str:
    """`a`, `a to b`, or `unknown`."""
    if not values:
        return "unknown"
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"


def _main_gains(
    experiment: Experiment, main: Results, dataset: str, metric: str
) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """In the main grid: IADSR minus none by protocol and backbone; the larger sd of the two over seeds by backbone."""
    scores = Scores(main.metrics)
    protocols = main.values(PROTOCOL, dataset=dataset)
    covered = experiment.backbones(dataset)
    held = [name for name in protocols if name in experiment.protocols(dataset)]
    gains: dict[tuple[str, str], float] = {}
    deviations: dict[str, list[float]] = {}
    for protocol in held or protocols:
        ranking = own_ranking(protocol, experiment.settings)
        for backbone in main.values(BACKBONE, dataset=dataset, protocol=protocol):
            if backbone not in covered:
                continue
            own, base = (
                scores.of(dataset, protocol, backbone, method, ranking, metric) for method in ("iadsr", "none")
            )
            common = sorted(own.keys() & base.keys())
            if common:
                gains[protocol, backbone] = sum(own[seed] - base[seed] for seed in common) / len(common)
            deviations.setdefault(backbone, []).extend(mean_and_sd(side.values())[1] for side in (own, base))
    return gains, _largest(deviations)


def _table_blocks(experiment: Experiment, numbers: Iterator[int]) -> list[Block]:
    made = []
    for dataset in experiment.datasets():
        for protocol in experiment.protocols(dataset):
            made.append(Block(figure=experiment_figures.forest_figure(experiment, dataset, protocol, next(numbers))))
            made += [
                Block(table=experiment_tables.methods_table(experiment, dataset, protocol, [backbone]))
                for backbone in experiment.backbones(dataset, protocol=protocol)
            ]
    return made


def _sweep_blocks(experiment: Experiment, numbers: Iterator[int]) -> list[Block]:
    made = []
    for dataset in experiment.datasets():
        made.append(Block(figure=experiment_figures.sweep_figure(experiment, dataset, next(numbers))))
        for protocol in experiment.protocols(dataset):
            backbones = experiment.backbones(dataset, protocol=protocol)
            table = experiment_tables.methods_table(experiment, dataset, protocol, backbones, "sweep")
            made.append(Block(table=table, folded=f"The numbers: {dataset}, protocol “{protocol}”"))
    return made


def _ladder_blocks(experiment: Experiment, numbers: Iterator[int]) -> list[Block]:
    made = []
    for dataset in experiment.datasets():
        made.append(Block(figure=experiment_figures.ladder_figure(experiment, dataset, next(numbers))))
        made.append(Block(table=experiment_tables.rungs_table(experiment, dataset)))
        made.append(Block(table=experiment_tables.ladder_table(experiment, dataset)))
    return made


def _spread_blocks(experiment: Experiment, numbers: Iterator[int]) -> list[Block]:
    made = []
    for dataset in experiment.datasets():
        if lacks_ties(experiment, dataset):
            continue
        made.append(Block(figure=experiment_figures.spread_figure(experiment, dataset, next(numbers))))
        made.append(Block(table=experiment_tables.spread_table(experiment, dataset)))
    return made


def _budget_blocks(experiment: Experiment, numbers: Iterator[int]) -> list[Block]:
    made = []
    for dataset in experiment.datasets():
        made.append(Block(figure=budgets.budget_figure(experiment, dataset, next(numbers))))
        for pair in experiment.pairs:
            made.append(Block(table=budgets.budget_table(experiment, dataset, pair)))
    return made


_VIEWS: dict[str, Callable[[Experiment, Iterator[int]], list[Block]]] = {
    "table": _table_blocks,
    "sweep": _sweep_blocks,
    "ladder": _ladder_blocks,
    "spread": _spread_blocks,
    "budget": _budget_blocks,
}


def _differences(experiment: Experiment) -> list[Block]:
    """In what the experiment's protocols differ, if it has several."""
    names = experiment.results.values(PROTOCOL)
    if len(names) < 2:
        return []
    described = experiment.settings.get("protocols", {})
    table = protocol_table(described, names, slug("experiment", experiment.name, "protocols"), only_differences=True)
    return [Block(table=table, folded="Settings in which these protocols differ")] if table.rows else []


def _further_data(experiment: Experiment, main: Results) -> list[Block]:
    """The experiment's datasets that the main grid lacks."""
    summaries = {name: found for name, found in experiment.results.summaries.items() if name not in main.summaries}
    if not summaries:
        return []
    table = replace(dataset_table(summaries), name=slug("experiment", experiment.name, "datasets"))
    return [Block(table=table, folded=f"About the data: {listed(list(summaries))}")]


def _diagnostics(experiment: Experiment, numbers: Iterator[int]) -> list[Block]:
    """How the masks behaved, folded: what is known of it, for each dataset."""
    made = []
    results, compared, scores, settings = (
        experiment.results,
        experiment.compared,
        experiment.scores,
        experiment.settings,
    )
    for dataset in experiment.datasets():
        methods = experiment.methods(dataset=dataset)
        traced = diagnostics.traced_methods(results, dataset, methods)
        if traced:
            look = diagnostics.look_of(traced)
            figure = diagnostics.curves_figure(results, dataset, next(numbers), traced, look)
            made.append(Block(figure=figure, folded=f"Alignment, cosines, keep rate and gradient by epoch: {dataset}"))
        kept = diagnostics.kept_methods(results, dataset, methods)
        if kept:
            look, fold = diagnostics.look_of(kept), f"Kept by popularity of the input item: {dataset}"
            made.append(Block(figure=diagnostics.kept_figure(results, dataset, next(numbers), kept, look), folded=fold))
            name = diagnostics.table_name(experiment.name, "kept", dataset)
            made.append(Block(table=diagnostics.kept_table(results, dataset, kept, name), folded=f"{fold}, as numbers"))
        if "none" in methods and len(methods) > 1:
            name = diagnostics.table_name(experiment.name, "signature", dataset)
            table = diagnostics.signature_table(results, compared, scores, settings, dataset, methods, name)
            made.append(Block(table=table, folded=f"HR@5 up while HR@20 down: {dataset}"))
        inflated = diagnostics.inflated_methods(results, dataset, methods)
        if inflated:
            name = diagnostics.table_name(experiment.name, "denoised-target", dataset)
            table = diagnostics.inflated_table(results, scores, dataset, inflated, name)
            made.append(Block(table=table, folded=f"The release's inflated evaluation (R2): {dataset}"))
    return made

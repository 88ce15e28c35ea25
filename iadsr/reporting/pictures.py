"""The page's figures: each a query of what statistics decided, drawn as a forest or as lines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from iadsr.core import columns as c
from iadsr.reporting.catalogue import GROUPS, TEST_METRICS, group_label
from iadsr.reporting.charts import MOST_LINES, Axis, Band, Figure, Panel, extent_of, forest, lines, shared
from iadsr.reporting.format import defect_in, is_number, label, listed, short_labels
from iadsr.reporting.results import SIDE, Maker

LOSSES = ("loss_recommendation", "loss_alignment", "loss_reconstruction")
MASKS = {"keep_rate": "kept", "gate_share": "past the gate"}
# quantities of the curves that tell how a mask learns: their axes and scales
TRACES = {
    "loss_alignment": ("Alignment\nloss", "linear"),
    "cosine_matched": ("Cosine,\nmatched", "linear"),
    "cosine_unmatched": ("Cosine,\nunmatched", "linear"),
    "keep_rate": ("Kept", "share"),
    "mask_gradient": ("Gradient\ninto mask", "log"),
}
TICKS = [group_label(group) for group in GROUPS]
PARTS = {"train_keep_rate": ": kept in training", "gate_share": ": past the gate"}  # of a sweep, by quantity
STAGES = {"train": "training", "test": "test"}
_LOG_FROM = 20  # a positive setting that varies by this factor is drawn on a log scale


class Pictures(Maker):
    """Makes the figures of one page."""

    def _figure(self, kind: str, title: str, panels: Sequence[Panel], *notes: str) -> Figure:
        return Figure(kind, title, " ".join(filter(None, (self.caption(kind), *notes))), panels)

    def _places(self, experiment: str, dataset: str) -> Iterator[tuple[str, str, str]]:
        """Yield protocol, backbone and panel title of every place of an experiment."""
        for protocol in self.results.values(c.PROTOCOL, experiment=experiment, dataset=dataset):
            for backbone in self.results.values(c.BACKBONE, experiment=experiment, dataset=dataset, protocol=protocol):
                yield protocol, backbone, f"{self.label(backbone)}, {protocol}"

    def _names(self, experiment: str, rows: pd.DataFrame) -> list[str]:
        """List the series of a figure, methods in the order of the run file."""
        methods = self.results.values(c.METHOD, experiment=experiment)
        order = rows[["series", c.METHOD]].drop_duplicates().assign(at=lambda own: own[c.METHOD].map(methods.index))
        return list(dict.fromkeys(order.sort_values("at", kind="stable")["series"]))

    def _by_method(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Make each method a series."""
        return rows.assign(series=rows[c.METHOD].map(self.label))

    def _key(self, methods: pd.Series) -> str:
        """Say what the short names of defects stand for; empty if there are none."""
        found = [name for name in map(defect_in, methods.unique()) if name]
        return f"Defects: {'; '.join(f'{name}: {self.defects.get(name)}' for name in found)}." if found else ""

    # forests

    def answer(self, dataset: str) -> Figure:
        """Draw IADSR's gain over backbone and controls in the claim's metrics; the published range as a band."""
        claim, (rows, lost) = self.results.findings["claim"], self.results.answered(dataset=dataset)
        left_out = f"Not drawn, for nothing of them is known: {listed(lost)}." if lost else ""
        rows = _bars(rows, rows[c.BACKBONE].map(self.label), "vs " + rows["baseline_method"].map(self.label))
        band = Band(claim["low"], claim["high"], "claimed")
        by_protocol = [own for _, own in rows.groupby(c.PROTOCOL, sort=False)]  # own scales: weak baselines spread wide
        drawn = [self._forests(own, [c.PROTOCOL, c.METRIC], "Relative gain of IADSR", band) for own in by_protocol]
        panels = list(itertools.chain(*drawn))
        return self._figure("answer", f"Gain of IADSR: {dataset}", panels, self._context(c.MAIN, dataset), left_out)

    def effects(self, dataset: str) -> Figure:
        """Draw what each method changes within a protocol, and what the protocol changes alone (NDCG@10)."""
        rows = self.results.select("comparisons", experiment=c.MAIN, dataset=dataset, metric="NDCG@10")
        methods = rows[(rows["kind"] != "protocol") & rows["headline"].astype(bool)]
        names = methods[c.METHOD].map(self.label) + " vs " + methods["baseline_method"].map(self.label)
        bars = _bars(methods, names, methods[c.BACKBONE].map(self.label))
        panels = self._forests(bars, [c.PROTOCOL], "Relative difference")
        protocols = rows[(rows["kind"] == "protocol") & (rows[c.METHOD] == "none")]
        for (protocol, base), block in protocols.groupby([c.PROTOCOL, "baseline_protocol"], sort=False):
            bars = _bars(block, block[c.RANKING].map(self.label), block[c.BACKBONE].map(self.label))
            panels.append(forest(f"No denoiser: {protocol} vs {base}", bars, "Relative difference"))
        title = f"Protocol effect beside method effect: {dataset}"
        return self._figure("effects", title, panels, self._context(c.MAIN, dataset))

    def gains(self, experiment: Mapping[str, Any], dataset: str, protocol: str) -> Figure:
        """Draw the relative gain of every method over the baseline, by backbone, one panel per metric."""
        where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset, c.PROTOCOL: protocol}
        rows = self.results.select("comparisons", **where, headline=True, kind="method", metric=list(TEST_METRICS))
        rows = rows[rows["baseline_method"] == experiment["baseline"]]
        short = short_labels(list(dict.fromkeys(rows[c.METHOD])), self.results.titles)
        base = self.label(experiment["baseline"])
        bars = _bars(rows, rows[c.BACKBONE].map(self.label), rows[c.METHOD].map(short))
        panels = self._forests(bars, [c.METRIC], f"Relative gain over {base}")
        notes = self.results.context(experiment["name"], dataset, [protocol]), self._key(rows[c.METHOD])
        return self._figure("forest", f"Gain over {base}: {dataset}, {protocol}", panels, *notes)

    def spread(self, experiment: Mapping[str, Any], dataset: str) -> Figure:
        """Draw least, mean and most over protocols that differ by chance, one panel per metric."""
        rows = self.results.select("spreads", experiment=experiment["name"], dataset=dataset, minus="")
        rows = self._ranges(rows[rows[c.METRIC].isin(TEST_METRICS)], "mean", "min", "max", "no value")
        panels = [
            forest(str(metric), block, f"{metric}, mean over seeds", form=lambda x: f"{x:.3g}")
            for metric, block in rows.groupby(c.METRIC, sort=False)
        ]
        title = f"Spread over protocols: {dataset}"
        return self._figure("spread", title, panels, self._context(experiment["name"], dataset))

    def budget(self, experiment: Mapping[str, Any], dataset: str) -> Figure:
        """Draw what a larger budget changes, one panel per pair of protocols; the range over seeds as a line."""
        rows = self.results.select("budgets", experiment=experiment["name"], dataset=dataset)
        rows = self._ranges(rows, "change", "change_least", "change_most", "no seed")
        tolerance = self.results.findings["tolerance"]
        band = Band(tolerance, math.inf, "budget too small")
        panels = [
            forest(f"{usual} to {larger}", block, "Change of validation NDCG@10", extent_of(block, 2 * tolerance), band)
            for (usual, larger), block in rows.groupby([c.PROTOCOL, "larger"], sort=False)
        ]
        title = f"What a larger budget changes: {dataset}"
        return self._figure("budget", title, panels, self._context(experiment["name"], dataset))

    def detection(self, experiment: Mapping[str, Any], dataset: str) -> Figure:
        """Draw how well each method tells known noise from genuine inputs, one panel per protocol and backbone."""
        rows = self.results.select("detections", experiment=experiment["name"], dataset=dataset)
        rows = self._ranges(rows, "noise_auc", "noise_auc_least", "noise_auc_most", "no seed")
        panels = [
            forest(str(protocol), block, "AUC", (-0.02, 1.02), form=lambda x: f"{x:.2f}", origin=0.5)
            for protocol, block in rows.groupby(c.PROTOCOL, sort=False)
        ]
        title = f"Which method finds the noise: {dataset}"
        return self._figure("detection", title, panels, self._context(experiment["name"], dataset))

    def _protocols(self, experiment: str, dataset: str) -> list[str]:
        return self.results.values(c.PROTOCOL, experiment=experiment, dataset=dataset)

    def _context(self, experiment: str, dataset: str) -> str:
        """Say what made the numbers of a figure of all protocols of an experiment on a dataset."""
        return self.results.context(experiment, dataset, self._protocols(experiment, dataset))

    def _forests(self, rows: pd.DataFrame, keys: Sequence[str], xlabel: str, band: Band | None = None) -> list[Panel]:
        """Draw one forest per group of `keys`, on one scale if that squeezes none."""
        blocks = [(key, block) for key, block in rows.groupby(list(keys), sort=False)]
        always = (band.high,) if band else ()
        extents = shared([extent_of(block, *always) for _, block in blocks]) if blocks else []
        return [
            forest(", ".join(map(str, key)), block, xlabel, extent, band)
            for (key, block), extent in zip(blocks, extents, strict=True)
        ]

    def _ranges(self, rows: pd.DataFrame, value: str, low: str, high: str, note: str) -> pd.DataFrame:
        """Convert rows to bars of a forest, from three of their columns; `note` stands where there is no value."""
        rows = rows.rename(columns={value: "value", low: "low", high: "high"})
        names = {"heading": rows[c.BACKBONE].map(self.label), "name": rows[c.METHOD].map(self.label)}
        return rows.assign(**names, note=note)

    # lines

    def _epochs(self, **where: object) -> pd.DataFrame:
        """Select curves, with the range over seeds as a series' `low` and `high`."""
        return self.results.select("curves", **where).rename(columns={"least": "low", "most": "high"})

    def popularity(self, dataset: str) -> Figure:
        """Draw NDCG@10 for cold targets and by popularity of the target, one panel per protocol and backbone."""
        rows = self.results.select("metrics", experiment=c.MAIN, dataset=dataset, headline=True, metric="NDCG@10")
        rows = rows[rows[c.GROUP].isin(GROUPS) & rows["mean"].notna() & (rows[c.BACKBONE] != "")]
        rows = self._by_method(rows).assign(x=rows[c.GROUP].map(GROUPS.index), y=rows["mean"])
        names, panels = self._names(c.MAIN, rows), []
        for protocol, backbone, title in self._places(c.MAIN, dataset):
            if len(own := _at(rows, protocol, backbone).sort_values("x")):
                axis = Axis("NDCG@10", own[["series", "x", "y"]], "zero", height=1.9)
                panels.append(lines(title, [axis], "Popularity of the target", names, TICKS))
        return self._figure("popularity", f"Cold and popular targets: {dataset}", panels)

    def kept(self, experiment: str, dataset: str) -> Figure | None:
        """Draw the share kept by popularity of the input item, training above test; None without a mask."""
        rows = self.results.select("keep", experiment=experiment, dataset=dataset)
        if rows.empty:
            return None
        rows = rows[rows[c.GROUP].isin(GROUPS)]
        short = short_labels(list(dict.fromkeys(rows[c.METHOD])), self.results.titles)
        rows = rows.assign(x=rows[c.GROUP].map(GROUPS.index), y=rows["mean"], series=rows[c.METHOD].map(short))
        panels = []
        for protocol, backbone, title in self._places(experiment, dataset):
            own = _at(rows, protocol, backbone).sort_values("x")
            for part in _sevens(self._names(experiment, own)):
                drawn = own[own["series"].isin(part)]
                stages = [(f"Kept, {title}", drawn[drawn["stage"] == name]) for name, title in STAGES.items()]
                axes = [Axis(name, values, "share", height=1.2) for name, values in stages]
                panels.append(lines(title, axes, "Popularity of the input item", part, TICKS))
        title = f"Kept by popularity of the input item: {dataset}"
        return self._figure("kept", title, panels, self._key(rows[c.METHOD]))

    def validation(self, dataset: str) -> Figure:
        """Draw validation NDCG@10 by epoch."""
        rows = self._epochs(experiment=c.MAIN, dataset=dataset, quantity="validation")
        panels = self._curves(c.MAIN, dataset, [("Validation NDCG@10", self._by_method(rows), "zero")])
        return self._figure("validation", f"Training curves: {dataset}", panels)

    def losses(self, dataset: str) -> Figure:
        """Draw IADSR's loss parts by epoch on a log scale, with the recommendation loss of `none` beside them."""
        rows = self._epochs(experiment=c.MAIN, dataset=dataset, quantity=list(LOSSES))
        rows = rows[(rows[c.METHOD] == "iadsr") | ((rows[c.METHOD] == "none") & (rows["quantity"] == LOSSES[0]))]
        rows = rows[rows["low"] > 0]
        names = rows[c.METHOD].map(self.label) + ": " + rows["quantity"].str.removeprefix("loss_")
        panels = self._curves(c.MAIN, dataset, [("Loss (log scale)", rows.assign(series=names), "log")])
        return self._figure("losses", f"Loss parts: {dataset}", panels)

    def masks(self, dataset: str) -> Figure:
        """Draw keep rate and share of sequences past the gate by epoch."""
        rows = self._epochs(experiment=c.MAIN, dataset=dataset, quantity=list(MASKS))
        names = rows[c.METHOD].map(self.label) + ": " + rows["quantity"].map(MASKS)
        panels = self._curves(c.MAIN, dataset, [("Share", rows.assign(series=names), "share")])
        return self._figure("masks", f"Masks while training: {dataset}", panels)

    def traces(self, experiment: str, dataset: str) -> Figure:
        """Draw alignment loss, cosines, keep rate and gradient by epoch: how a mask learns."""
        rows = self._by_method(self._epochs(experiment=experiment, dataset=dataset))
        rows = rows[rows["low"].gt(0) | (rows["quantity"] != "mask_gradient")].drop(columns=["low", "high"])
        axes = [(title, rows[rows["quantity"] == name], scale) for name, (title, scale) in TRACES.items()]
        panels = self._curves(experiment, dataset, axes, height=0.82)
        title = f"Mask and alignment while training: {dataset}"
        return self._figure("diagnostics", title, panels, self._key(rows[c.METHOD]))

    def _curves(
        self, experiment: str, dataset: str, axes: Sequence[tuple[str, pd.DataFrame, str]], height: float = 1.9
    ) -> list[Panel]:
        """Draw one panel per protocol and backbone, at most as many lines in one as there are colours."""
        panels = []
        every = self._names(experiment, pd.concat([rows for _, rows, _ in axes]))
        axes = [(name, rows.rename(columns={"epoch": "x", "mean": "y"}), scale) for name, rows, scale in axes]
        for protocol, backbone, title in self._places(experiment, dataset):
            here = [(name, _at(rows, protocol, backbone), scale) for name, rows, scale in axes]
            for part in _sevens(every):
                drawn = [(name, own[own["series"].isin(part)], scale) for name, own, scale in here]
                if at := [Axis(name, own, scale, height=height) for name, own, scale in drawn if len(own)]:
                    panels.append(lines(title, at, "Epoch", part))
        return panels

    def sweep(self, experiment: Mapping[str, Any], dataset: str) -> Figure:
        """Draw HR@5 against the swept setting, and beneath it what the mask did; one panel per protocol."""
        points: Mapping[str, Any] = experiment["points"]
        numeric = all(is_number(value) and not isinstance(value, bool | str) for value in points.values())
        order = sorted(points, key=lambda name: float(points[name])) if numeric else list(points)
        x = {name: float(points[name]) if numeric else float(order.index(name)) for name in points}
        option = str(experiment["option"]).replace("_", " ")
        values = list(x.values())
        log = numeric and min(values) > 0 and max(values) / min(values) >= _LOG_FROM
        ticks = [] if numeric else [str(points[name]) for name in order]
        panels = []
        for protocol in self._protocols(experiment["name"], dataset):
            where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset, c.PROTOCOL: protocol}
            means = self.results.select("metrics", **where, headline=True, group="all", metric="HR@5")
            tests = self.results.select("comparisons", **where, headline=True, kind="method", metric="HR@5")
            tests = tests[tests["baseline_method"] == experiment["baseline"]]
            rows = means.merge(tests[[*SIDE, "difference", "ci_low", "ci_high"]], on=SIDE, how="left")
            swept = _swept(rows, x)
            masks = _swept(self.results.select("quantities", **where, quantity=list(PARTS)), x)
            masks = masks.assign(series=masks["series"] + masks["quantity"].map(PARTS))
            none = rows[rows[c.METHOD] == "none"]
            flat = pd.concat([none.assign(x=end, y=none["mean"]) for end in (min(values), max(values))])
            flat = flat.assign(series=flat[c.BACKBONE].map(self.label) + ": none")
            top = pd.concat([swept, flat])[["series", "x", "y", "low", "high"]] if len(swept) else flat
            axes = [Axis("HR@5", top, height=1.8), Axis("Share", masks[["series", "x", "y"]], "share", height=0.9)]
            backbones = [self.label(name) for name in self.results.values(c.BACKBONE, experiment=experiment["name"])]
            names = [name + part for part in ("", ": none", *PARTS.values()) for name in backbones]
            panels.append(lines(f"{dataset}, {protocol}", axes, option.capitalize(), names, ticks, log))
        title = f"HR@5 by {option}: {dataset}"
        return self._figure("sweep", title, panels, self._context(experiment["name"], dataset))

    def ladder(self, experiment: Mapping[str, Any], dataset: str) -> Figure:
        """Draw each method's value from rung to rung, and beneath it its gain over the baseline."""
        where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset}
        protocols = self._protocols(experiment["name"], dataset)
        place = {name: float(rung) for rung, name in enumerate(protocols)}
        ticks = [f"{rung}. {name.replace('_', ' ')}" for rung, name in enumerate(protocols, start=1)]
        panels = []
        for backbone in self.results.values(c.BACKBONE, **where):
            for metric in reversed(TEST_METRICS):
                means = self.results.select("metrics", **where, headline=True, group="all", metric=metric)
                means = means[means[c.BACKBONE].isin([backbone, ""])]
                means = self._by_method(means).assign(x=means[c.PROTOCOL].map(place), y=means["mean"])
                means = means.assign(low=means["mean"] - means["sd"], high=means["mean"] + means["sd"])
                tests = self.results.select("comparisons", **where, headline=True, backbone=backbone, metric=metric)
                tests = tests[tests["baseline_method"] == experiment["baseline"]]
                tests = self._by_method(tests).assign(x=tests[c.PROTOCOL].map(place), y=tests["gain"])
                tests = tests.assign(low=tests["gain_low"], high=tests["gain_high"])
                gain = f"Gain over {self.label(experiment['baseline'])}"
                axes = [Axis(metric, means, "zero", bars=True), Axis(gain, tests, "percent", True, 1.1, line=0.0)]
                names = ["most popular", *self._names(str(experiment["name"]), means[means[c.BACKBONE] != ""])]
                panels.append(lines(f"{self.label(backbone)}: {metric}", axes, "", names, ticks))
        context = self.results.context(experiment["name"], dataset, protocols)
        return self._figure("ladder", f"From rung to rung: {dataset}", panels, context)


def _bars(rows: pd.DataFrame, heading: pd.Series, name: pd.Series) -> pd.DataFrame:
    """Convert comparisons to bars of a forest: their relative gains."""
    shown = {"value": "gain", "low": "gain_low", "high": "gain_high", "note": "outcome"}
    return rows.drop(columns=["note"], errors="ignore").assign(
        heading=heading, name=name, **{column: rows[source] for column, source in shown.items()}
    )


def _swept(rows: pd.DataFrame, x: Mapping[str, float]) -> pd.DataFrame:
    """Sort the rows of swept methods by value, and lay the intervals of their differences around their means."""
    rows = rows[rows[c.METHOD].isin(list(x))]
    rows = rows.assign(x=rows[c.METHOD].map(x), y=rows["mean"], series=rows[c.BACKBONE].map(label))
    if "ci_low" in rows:
        low, high = (rows["mean"] + (rows[end] - rows["difference"]) for end in ("ci_low", "ci_high"))
        rows = rows.assign(low=low, high=high)
    return rows.sort_values("x", kind="stable")


def _at(rows: pd.DataFrame, protocol: str, backbone: str) -> pd.DataFrame:
    return rows[(rows[c.PROTOCOL] == protocol) & (rows[c.BACKBONE] == backbone)]


def _sevens(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield at most as many names at a time as there are colours."""
    for start in range(0, len(names), MOST_LINES):
        yield list(names[start : start + MOST_LINES])

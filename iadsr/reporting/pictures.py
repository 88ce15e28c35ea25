"""The page's figures: each a query of what statistics decided, drawn as a forest or as lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from iadsr.core import columns as c
from iadsr.reporting.catalogue import TEST_METRICS
from iadsr.reporting.charts import MOST_LINES, Axis, Band, Figure, Panel, extent_of, forest, lines, shared
from iadsr.reporting.format import label, listed, short_labels
from iadsr.reporting.results import SIDE, Maker, Where

LOSSES = ("loss_recommendation", "loss_alignment", "loss_reconstruction")
MASK_CURVES = {"keep_rate": "kept", "gate_share": "past the gate"}
# quantities of the curves that tell how a mask learns: their axes and scales
TRACES = {
    "loss_alignment": ("Alignment\nloss", "linear"),
    "cosine_matched": ("Cosine,\nmatched", "linear"),
    "cosine_unmatched": ("Cosine,\nunmatched", "linear"),
    "keep_rate": ("Kept", "share"),
    "mask_gradient": ("Gradient\ninto mask", "log"),
}
TICKS = [label(group) for group in c.BY_POPULARITY]
SWEPT_SHARES = {"train_keep_rate": ": kept in training", "gate_share": ": past the gate"}  # of a sweep, by quantity
GAINS = ("gain", "gain_low", "gain_high", "outcome")  # of comparisons
_LOG_FROM = 20  # a positive setting that varies by this factor is drawn on a log scale


class Pictures(Maker):
    """Makes the figures of one page."""

    def _figure(self, kind: str, where: Where, panels: Sequence[Panel], note: str = "", **what: str) -> Figure:
        """Make a figure of what stands at `where`; `what` fills places of its title, `note` ends its caption."""
        caption = self.caption(kind, context=self.words.context(where))
        title = self.titles[kind].format_map({**where, **what})
        return Figure(kind, title, " ".join(filter(None, (caption, note))), panels)

    def _places(self, where: Where) -> Iterator[tuple[str, str, str]]:
        """Yield protocol, backbone and panel title of every place of an experiment on a dataset."""
        for place in self.results.places(c.PROTOCOL, c.BACKBONE, **where):
            yield place[c.PROTOCOL], place[c.BACKBONE], f"{self.label(place[c.BACKBONE])}, {place[c.PROTOCOL]}"

    def _names(self, where: Where, rows: pd.DataFrame) -> list[str]:
        """List the series of a figure, methods in the order of the run file."""
        methods = self.results.values(c.METHOD, experiment=where[c.EXPERIMENT])
        order = rows[["series", c.METHOD]].drop_duplicates().assign(at=lambda own: own[c.METHOD].map(methods.index))
        return list(dict.fromkeys(order.sort_values("at", kind="stable")["series"]))

    def _by_method(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Make each method a series."""
        return rows.assign(series=rows[c.METHOD].map(self.label))

    # forests

    def answer(self, where: Where) -> Figure:
        """Draw IADSR's gains in the claim's metrics, averaged over several backbones; the published range as a band."""
        rows, lost = self.results.answered(dataset=where[c.DATASET])
        left_out = f"Not drawn, for nothing of them is known: {listed(lost)}." if lost else ""
        rows = rows[rows["whole"]]
        rows = _bars(rows, rows[c.BACKBONE].map(self.label), "vs " + rows["baseline_method"].map(self.label))
        panels, paper = [], self.results.findings["paper"]
        low, high = paper["gain"]
        band, title = Band(low, high, "claimed"), f"Relative gain of {self.label(paper['method'])}"
        for _, own in rows.groupby(c.PROTOCOL, sort=False):  # own scales: weak baselines spread wide
            panels += self._forests(own, [c.PROTOCOL, c.METRIC], title, band)
        return self._figure("answer", where, panels, left_out)

    def effects(self, where: Where) -> Figure:
        """Draw what each method changes within a protocol, and what the protocol changes alone (NDCG@10)."""
        rows = self.results.select("comparisons", **where, metric="NDCG@10")
        methods = rows[(rows["kind"] != "protocol") & rows["headline"].astype(bool)]
        names = methods[c.METHOD].map(self.label) + " vs " + methods["baseline_method"].map(self.label)
        bars = _bars(methods, names, methods[c.BACKBONE].map(self.label))
        panels = self._forests(bars, [c.PROTOCOL], "Relative difference")
        protocols = rows[(rows["kind"] == "protocol") & (rows[c.METHOD] == "none")]
        for (protocol, base), block in protocols.groupby([c.PROTOCOL, "baseline_protocol"], sort=False):
            bars = _bars(block, block[c.RANKING].map(self.label), block[c.BACKBONE].map(self.label))
            panels.append(forest(f"No denoiser: {protocol} vs {base}", bars, "Relative difference"))
        return self._figure("effects", where, panels)

    def gains(self, where: Where) -> Figure:
        """Draw the relative gain of every method over the baseline, by backbone, one panel per metric."""
        rows = self.results.against_baseline(where, metric=list(TEST_METRICS))
        short = short_labels(list(dict.fromkeys(rows[c.METHOD])), self.results.titles)
        base = self.label(self.results.experiment(where)["baseline"])
        bars = _bars(rows, rows[c.BACKBONE].map(self.label), rows[c.METHOD].map(short))
        panels = self._forests(bars, [c.METRIC], f"Relative gain over {base}")
        return self._figure("forest", where, panels, self.words.key(rows[c.METHOD]), baseline=base)

    def spread(self, where: Where) -> Figure:
        """Draw least, mean and most over protocols that differ by chance, one panel per metric."""
        rows = self.results.select("spreads", **where, minus="")
        rows = self._ranges(rows[rows[c.METRIC].isin(TEST_METRICS)], "mean", "min", "max", "no value")
        panels = [
            forest(str(metric), block, f"{metric}, mean over seeds", form=lambda x: f"{x:.3g}")
            for metric, block in rows.groupby(c.METRIC, sort=False)
        ]
        return self._figure("spread", where, panels)

    def budget(self, where: Where) -> Figure:
        """Draw what a larger budget changes, with its interval, one panel per pair of protocols."""
        rows = self.results.select("budgets", **where)
        rows = self._ranges(rows, "change", "change_low", "change_high", "no seed")
        tolerance = self.results.findings["tolerance"]
        band = Band(tolerance, math.inf, "budget too small")
        panels = [
            forest(f"{usual} to {larger}", block, "Change of validation NDCG@10", extent_of(block, 2 * tolerance), band)
            for (usual, larger), block in rows.groupby([c.PROTOCOL, "larger"], sort=False)
        ]
        return self._figure("budget", where, panels)

    def detection(self, where: Where) -> Figure:
        """Draw how well each method tells known noise from genuine inputs, one panel per protocol and backbone."""
        rows = self.results.select("detections", **where)
        rows = self._ranges(rows, "noise_auc", "noise_auc_least", "noise_auc_most", "no seed")
        panels = [
            forest(str(protocol), block, "AUC", (-0.02, 1.02), form=lambda x: f"{x:.2f}", origin=0.5)
            for protocol, block in rows.groupby(c.PROTOCOL, sort=False)
        ]
        return self._figure("detection", where, panels)

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
        heading, name = (rows[column].map(self.label) for column in (c.BACKBONE, c.METHOD))
        return _bars(rows.assign(note=note), heading, name, (value, low, high, "note"))

    # lines

    def _epochs(self, **where: object) -> pd.DataFrame:
        """Select curves as the data of an `Axis`, with the range over seeds."""
        names = {"epoch": "x", "mean": "y", "least": "low", "most": "high"}
        return self.results.select("curves", **where).rename(columns=names)

    def popularity(self, where: Where) -> Figure:
        """Draw NDCG@10 for cold targets and by popularity of the target, one panel per protocol and backbone."""
        rows = self.results.select("metrics", **where, headline=True, metric="NDCG@10", group=list(c.BY_POPULARITY))
        rows = self._by_method(rows[rows["mean"].notna() & (rows[c.BACKBONE] != "")])
        names, panels = self._names(where, rows), []
        for protocol, backbone, title in self._places(where):
            if len(own := _by_group(_at(rows, protocol, backbone))):
                axis = Axis("NDCG@10", own[["series", "x", "y"]], "zero", height=1.9)
                panels.append(lines(title, [axis], "Popularity of the target", names, TICKS))
        return self._figure("popularity", where, panels)

    def kept(self, where: Where) -> Figure | None:
        """Draw the share kept by popularity of the input item, training above test; None without a mask."""
        if self.results.select("keep", **where).empty:
            return None
        rows = self.results.select("keep", **where, group=list(c.BY_POPULARITY))
        short = short_labels(list(dict.fromkeys(rows[c.METHOD])), self.results.titles)
        rows = rows.assign(series=rows[c.METHOD].map(short))
        panels = []
        for protocol, backbone, title in self._places(where):
            own = _by_group(_at(rows, protocol, backbone))
            for part in _sevens(self._names(where, own)):
                drawn = own[own["series"].isin(part)]
                stages = [(f"Kept, {label(name)}", drawn[drawn["stage"] == name]) for name in ("train", "test")]
                axes = [Axis(name, values, "share", height=1.2) for name, values in stages]
                panels.append(lines(title, axes, "Popularity of the input item", part, TICKS))
        return self._figure("kept", where, panels, self.words.key(rows[c.METHOD]))

    def validation(self, where: Where) -> Figure:
        """Draw validation NDCG@10 by epoch."""
        rows = self._by_method(self._epochs(**where, quantity="validation"))
        return self._figure("validation", where, self._curves(where, [("Validation NDCG@10", rows, "zero")]))

    def losses(self, where: Where) -> Figure:
        """Draw IADSR's loss parts by epoch on a log scale, with the recommendation loss of `none` beside them."""
        rows = self._epochs(**where, quantity=list(LOSSES))
        none = (rows[c.METHOD] == "none") & (rows["quantity"] == LOSSES[0])
        rows = rows[none | (rows[c.METHOD] == self.results.findings["paper"]["method"])]
        rows = rows[rows["low"] > 0]
        rows = rows.assign(series=rows[c.METHOD].map(self.label) + ": " + rows["quantity"].str.removeprefix("loss_"))
        return self._figure("losses", where, self._curves(where, [("Loss (log scale)", rows, "log")]))

    def masks(self, where: Where) -> Figure:
        """Draw keep rate and share of sequences past the gate by epoch."""
        rows = self._epochs(**where, quantity=list(MASK_CURVES))
        rows = rows.assign(series=rows[c.METHOD].map(self.label) + ": " + rows["quantity"].map(MASK_CURVES))
        return self._figure("masks", where, self._curves(where, [("Share", rows, "share")]))

    def traces(self, where: Where) -> Figure:
        """Draw alignment loss, cosines, keep rate and gradient by epoch: how a mask learns."""
        rows = self._by_method(self._epochs(**where))
        rows = rows[rows["low"].gt(0) | (rows["quantity"] != "mask_gradient")].drop(columns=["low", "high"])
        axes = [(title, rows[rows["quantity"] == name], scale) for name, (title, scale) in TRACES.items()]
        return self._figure("diagnostics", where, self._curves(where, axes, 0.82), self.words.key(rows[c.METHOD]))

    def _curves(self, where: Where, axes: Sequence[tuple[str, pd.DataFrame, str]], height: float = 1.9) -> list[Panel]:
        """Draw one panel per protocol and backbone, at most as many lines in one as there are colours."""
        panels = []
        every = self._names(where, pd.concat([rows for _, rows, _ in axes]))
        for protocol, backbone, title in self._places(where):
            here = [(name, _at(rows, protocol, backbone), scale) for name, rows, scale in axes]
            for part in _sevens(every):
                drawn = [(name, own[own["series"].isin(part)], scale) for name, own, scale in here]
                if at := [Axis(name, own, scale, height=height) for name, own, scale in drawn if len(own)]:
                    panels.append(lines(title, at, "Epoch", part))
        return panels

    def sweep(self, where: Where) -> Figure:
        """Draw HR@5 against the swept setting, and beneath it what the mask did; one panel per protocol."""
        experiment = self.results.experiment(where)
        points: Mapping[str, Any] = experiment["points"]
        x = {name: float(value) for name, value in points.items()}
        ends = min(x.values()), max(x.values())
        log = ends[0] > 0 and ends[1] / ends[0] >= _LOG_FROM
        option = str(experiment["option"]).replace("_", " ")
        panels = []
        for protocol in self.results.values(c.PROTOCOL, **where):
            here = {**where, c.PROTOCOL: protocol}
            means = self.results.select("metrics", **here, headline=True, group=c.ALL_USERS, metric="HR@5")
            tests = self.results.against_baseline(here, metric="HR@5")
            rows = means.merge(tests[[*SIDE, "mean_low", "mean_high"]], on=SIDE, how="left")
            swept = _swept(rows.rename(columns={"mean_low": "low", "mean_high": "high"}), x)
            masks = _swept(self.results.select("quantities", **here, quantity=list(SWEPT_SHARES)), x)
            masks = masks.assign(series=masks["series"] + masks["quantity"].map(SWEPT_SHARES))
            none = rows[rows[c.METHOD] == "none"]
            flat = pd.concat([none.assign(x=end, y=none["mean"]) for end in ends])
            flat = flat.assign(series=flat[c.BACKBONE].map(self.label) + ": none")
            top = pd.concat([swept, flat])[["series", "x", "y", "low", "high"]] if len(swept) else flat
            axes = [Axis("HR@5", top, height=1.8), Axis("Share", masks[["series", "x", "y"]], "share", height=0.9)]
            backbones = [self.label(name) for name in self.results.values(c.BACKBONE, experiment=experiment["name"])]
            names = [name + part for part in ("", ": none", *SWEPT_SHARES.values()) for name in backbones]
            panels.append(lines(f"{where[c.DATASET]}, {protocol}", axes, option.capitalize(), names, log=log))
        return self._figure("sweep", where, panels, option=option)

    def ladder(self, where: Where) -> Figure:
        """Draw each method's value from rung to rung, and beneath it its gain over the baseline."""
        protocols = self.results.values(c.PROTOCOL, **where)
        place = {name: float(rung) for rung, name in enumerate(protocols)}
        ticks = [f"{rung}. {name.replace('_', ' ')}" for rung, name in enumerate(protocols, start=1)]
        panels = []
        for backbone in self.results.values(c.BACKBONE, **where):
            for metric in reversed(TEST_METRICS):
                means = self.results.select("metrics", **where, headline=True, group=c.ALL_USERS, metric=metric)
                means = means[means[c.BACKBONE].isin([backbone, ""])]
                means = self._by_method(means).assign(x=means[c.PROTOCOL].map(place), y=means["mean"])
                means = means.assign(low=means["mean"] - means["sd"], high=means["mean"] + means["sd"])
                tests = self.results.against_baseline(where, backbone=backbone, metric=metric)
                tests = self._by_method(tests).assign(x=tests[c.PROTOCOL].map(place), y=tests["gain"])
                tests = tests.assign(low=tests["gain_low"], high=tests["gain_high"])
                gain = f"Gain over {self.label(self.results.experiment(where)['baseline'])}"
                axes = [Axis(metric, means, "zero", bars=True), Axis(gain, tests, "percent", True, 1.1, line=0.0)]
                names = ["most popular", *self._names(where, means[means[c.BACKBONE] != ""])]
                panels.append(lines(f"{self.label(backbone)}: {metric}", axes, "", names, ticks))
        return self._figure("ladder", where, panels)


def _bars(rows: pd.DataFrame, heading: pd.Series, name: pd.Series, columns: Sequence[str] = GAINS) -> pd.DataFrame:
    """Convert rows to bars of a forest; `columns` hold value, low, high and the note where there is no value."""
    shown = dict(zip(("value", "low", "high", "note"), (rows[column] for column in columns), strict=True))
    return rows.assign(heading=heading, name=name, **shown)


def _swept(rows: pd.DataFrame, x: Mapping[str, float]) -> pd.DataFrame:
    """Sort the rows of swept methods by value."""
    rows = rows[rows[c.METHOD].isin(list(x))]
    rows = rows.assign(x=rows[c.METHOD].map(x), y=rows["mean"], series=rows[c.BACKBONE].map(label))
    return rows.sort_values("x", kind="stable")


def _at(rows: pd.DataFrame, protocol: str, backbone: str) -> pd.DataFrame:
    return rows[(rows[c.PROTOCOL] == protocol) & (rows[c.BACKBONE] == backbone)]


def _by_group(rows: pd.DataFrame) -> pd.DataFrame:
    """Lay the means of groups along x, cold items first."""
    return rows.assign(x=rows[c.GROUP].map(c.BY_POPULARITY.index), y=rows["mean"]).sort_values("x")


def _sevens(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield at most as many names at a time as there are colours."""
    for start in range(0, len(names), MOST_LINES):
        yield list(names[start : start + MOST_LINES])

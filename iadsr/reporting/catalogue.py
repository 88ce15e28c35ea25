"""The page's tables: each a query of what statistics decided, and its columns.

Their captions stand in `report/captions.toml`; `what` fills the places in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from iadsr.core import columns as c
from iadsr.reporting import format as f
from iadsr.reporting.results import SIDE, Maker, Where
from iadsr.reporting.tables import (
    OUTCOME_WORDS,
    Column,
    Row,
    Table,
    gain,
    mean,
    named,
    number,
    text,
    wide,
)

ON_LISTS = {"coverage@10": "Coverage@10", "tied_share": "Tied targets"}  # metrics of all users together
GAIN_METRICS = ("HR@5", "NDCG@5", "NDCG@10")
PAPER_METRICS = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")
VALUE_METRICS = ("HR@5", "NDCG@5", "HR@20", "NDCG@20")
TEST_METRICS = ("HR@5", "NDCG@10")
MASKS = {
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
COSTS = {
    "epochs": ("Epochs", 0),
    "best_epoch": ("Kept epoch", 1),
    "seconds_epoch": ("Seconds per epoch", 2),
    "seconds_total": ("Seconds per run", 1),
    "times_baseline": ("Times the baseline", 2),
}
PARTS = ("mask", "project", "decode", "backbone", "table")
NUMBERS = (
    *("mean", "baseline_mean", "difference", "gain", "ci_low", "ci_high", "gain_low", "gain_high"),
    *("p", "p_holm", "family", "same_as", "effect", "wins", "ties", "losses", "seed_sd", "users", "seeds"),
    *("status", "outcome", "alone", "tests"),
)
DIGITS = 12  # of a digest
DATASET, PROTOCOL = named("Dataset", c.DATASET), named("Protocol", c.PROTOCOL)
RUNS = number("Runs", "runs", f.integer)
_ELSEWHERE = ("protocols", "backbones", "datasets", "tuned", "method_files", "claims")  # settings shown elsewhere


class Catalogue(Maker):
    """Makes the tables of one page."""

    def _table(
        self,
        kind: str,
        where: Where,
        frame: pd.DataFrame,
        heads: Sequence[Column],
        columns: Sequence[Column],
        opens: Sequence[str] = (),
        *,
        last: Sequence[Column] | None = None,
        name: str = "",
        ranking: str = "",
        **what: str,
    ) -> Table:
        """Make a table of what stands at `where`, an address that names it together with its kind.

        Args:
            heads: row headers; `opens` as in `Table`.
            last: columns after `columns`, which a row without results then gives to its note; None: it gives none.
            name: another name.
            ranking: the rule to name in the caption, whose other places `what` fills.
        """
        experiment, dataset, protocol = (where.get(column, "") for column in (c.EXPERIMENT, c.DATASET, c.PROTOCOL))
        further = () if experiment in ("", c.MAIN) else ("experiment", experiment)
        if dataset:
            about = f"{dataset}; encoder {self.results.encoders(experiment=experiment, dataset=dataset)}."
            what = {"about": about, "context": self.words.context(where, ranking), **what}
        return Table(
            f.slug(name) or f.slug(*further, kind, dataset, protocol),
            self.caption(kind, **what),
            frame.reset_index(drop=True),
            [*heads, *columns, *(last or ())],
            len(heads),
            opens,
            span=0 if last is None else len(columns),
        )

    @property
    def _sides(self) -> list[Column]:
        """Dataset, protocol, backbone and method: the row headers of most tables, or the last of them."""
        return [DATASET, PROTOCOL, self._backbone, self._method()]

    @property
    def _backbone(self) -> Column:
        return Column("Backbone", lambda row: self.label(str(row[c.BACKBONE])), numeric=False)

    def _method(self, names: Sequence[str] = ()) -> Column:
        """Show a method by its short name; below it what a defect is, and which method has the very same runs."""
        short = f.short_labels(names, self.results.titles)

        def name(row: Row) -> str:
            return short.get(row[c.METHOD], self.label(row[c.METHOD]))

        return Column("Method", name, self.words.method_note, numeric=False)

    @property
    def _seeds(self) -> Column:
        """Show how many of the expected seeds are done; below them the reasons of the others, unless none is done."""
        return Column("Seeds", self.words.seeds, lambda row: row["note"] if row["seeds_done"] else "", numeric=False)

    # the main experiment

    def answer(self) -> Table:
        """Tabulate IADSR against its backbone and its controls, in the two metrics of the claim."""
        metrics, (rows, _) = self.results.findings["paper"]["metrics"], self.results.answered()
        pairs = rows[c.METRIC] + " vs " + rows["baseline_method"]
        rows = rows.assign(pair=pairs).sort_values([c.DATASET, c.PROTOCOL], kind="stable", key=_by_first_seen)
        frame = wide(rows, [c.DATASET, c.PROTOCOL, c.BACKBONE, c.RANKING], "pair", NUMBERS)
        bases = rows["baseline_method"].unique()
        columns = [gain(f"{name} vs {self.label(base)}", f"{name} vs {base} ") for name in metrics for base in bases]
        return self._table("answer", {}, frame, self._sides[:3], columns, [c.DATASET, c.PROTOCOL])

    def claims(self) -> Table:
        """Tabulate the verdict on each published claim: one row per claim and dataset, a column per protocol."""
        key, verdicts = ["claim", c.DATASET], self.results.tables["verdicts"]
        whole, own = (verdicts[(verdicts[c.PROTOCOL] == "") == one] for one in (True, False))
        frame = pd.DataFrame(self.results.settings["claims"], dtype=object).rename(columns={"id": "claim"})
        frame = frame.merge(whole[["claim", "verdict"]]).merge(own[key].drop_duplicates(), on="claim", how="left")
        protocols = list(dict.fromkeys(own[c.PROTOCOL]))
        numbers = [str(name) for name in own if name not in (*key, c.PROTOCOL)]
        if protocols:
            frame = frame.merge(wide(own, key, c.PROTOCOL, numbers), on=key, how="left")

        def under(protocol: str) -> Column:
            def why(row: Row) -> str:
                return str(self.words.verdict(row, {name: row[f"{protocol} {name}"] for name in numbers}))

            own = f"{protocol} verdict"
            return Column(
                f"Under “{protocol}”", lambda row: str(row[own] or f.NOTHING), why, numeric=False, verdict=own
            )

        def needed(row: Row) -> str:
            """Say what would decide a claim that nothing here decides."""
            return "" if any(row[f"{one} judged"] for one in protocols) else f"needs {row['needed']}"

        dataset = [text("Dataset", c.DATASET)] if own[c.DATASET].nunique() > 1 else []
        whole_verdict = Column("Verdict", lambda row: str(row["verdict"]), needed, numeric=False, verdict="verdict")
        columns = [whole_verdict, *dataset, *map(under, protocols)]
        return self._table("claims", {}, frame, [text("Claim", "title", "sentence")], columns, ["claim"])

    def accuracy(self, where: Where) -> Table:
        """Tabulate what every backbone and method reaches, as papers do: one row each, the protocols side by side."""
        side, places, base = [c.BACKBONE, c.METHOD], [c.PROTOCOL, c.METRIC], self.results.settings["baseline"]
        values = self.results.select("metrics", **where, headline=True, group=c.ALL_USERS, metric=list(PAPER_METRICS))
        tests = self.results.select("comparisons", **where, headline=True, kind="method", baseline_method=base)
        values = values.merge(tests[[*side, *places, "outcome"]], on=[*side, *places], how="left")
        values = values.assign(what=values[places].agg(" ".join, axis=1))
        values = wide(values, side, "what", ["mean", "best", "outcome"])
        sides = self.results.select("sides", **where)
        states = wide(sides, side, c.PROTOCOL, ["status"]).merge(sides.drop_duplicates(side)[[*side, "note"]], on=side)
        popular = values.loc[values[c.METHOD] == c.MOST_POPULAR, side]
        frame = pd.concat([popular, states]).merge(values, on=side, how="left")
        frame["status"] = np.where(frame.filter(like=" mean").notna().any(axis=1), c.DONE, "missing")

        def under(protocol: str, metric: str) -> Column:
            score = partial(self.words.score, protocol=protocol, metric=metric)
            return Column(metric, score, note=f"“{protocol}”", bold=f"{protocol} {metric} best", group=metric)

        columns = [under(name, metric) for name in self.results.values(c.PROTOCOL, **where) for metric in PAPER_METRICS]
        heads, opens = self._sides[2:], [c.BACKBONE]
        return self._table("accuracy", where, frame, heads, columns, opens, last=[], baseline=self.label(base))

    def overall(self, where: Where, ranking: str) -> Table:
        """Tabulate every backbone and method: mean and standard deviation over seeds, gains over the baseline."""
        values = self.results.select("metrics", **where, ranking=ranking, group=c.ALL_USERS)
        metrics = [name for name in values[c.METRIC].unique() if name not in ON_LISTS]
        values = wide(values[values[c.METRIC].isin(metrics)], SIDE, c.METRIC, ["mean", "sd", "gain", "best"])
        popular = values[values[c.METHOD] == c.MOST_POPULAR]
        popular = popular.assign(experiment=c.MAIN, status=c.DONE, note="", seeds_done=0, seeds_expected=0)
        sides = self.results.beside(where, values)
        frame = pd.concat([popular[list(sides)], sides]).assign(ranking=ranking)
        base = self.label(self.results.settings["baseline"])
        columns = [mean(metric, metric, bold=f"{metric} best") for metric in metrics]
        columns += [number(f"{metric} vs {base}", f"{metric} gain", f.percent) for metric in GAIN_METRICS]
        said = {"name": f"overall-{where[c.DATASET]}-{where[c.PROTOCOL]}-{ranking}", "ranking": ranking}
        return self._table("overall", where, frame, self._sides[2:], columns, [c.BACKBONE], last=[self._seeds], **said)

    def coverage(self, where: Where) -> Table:
        """Tabulate coverage and tied targets of every method under both ranking rules."""
        values = self.results.select("metrics", **where, group=c.ALL_USERS, metric=list(ON_LISTS))
        values = wide(values.assign(what=values[c.METRIC] + " " + values[c.RANKING]), SIDE, "what", ["mean", "sd"])
        frame = self.results.beside(where, values)
        shown = [(metric, rule) for metric in ON_LISTS for rule in c.RANKINGS if f"{metric} {rule} mean" in frame]
        columns = [mean(ON_LISTS[metric], f"{metric} {rule}", 3, note=self.label(rule)) for metric, rule in shown]
        return self._table("coverage", where, frame, self._sides[2:], columns, [c.BACKBONE], last=[])

    def tests(self, where: Where) -> Table:
        """Tabulate paired tests in the claim's metrics and NDCG@10, under the protocol's own ranking rule."""
        kinds, metrics = ["method", "backbones"], list(GAIN_METRICS)
        rows = self.results.select("comparisons", **where, headline=True, metric=metrics, kind=kinds)
        frame = rows.sort_values(["baseline_method", c.METHOD, c.METRIC], kind="stable", key=_by_first_seen)
        return self._tests("tests", where, frame, ranking=self.results.headline(where))

    def protocol_effects(self, where: Where) -> Table:
        """Tabulate what the protocol changes without a denoiser, under one ranking rule on both sides (NDCG@10)."""
        rows = self.results.select("comparisons", **where, kind="protocol", method="none", metric="NDCG@10")
        return self._tests("protocol-effects", where, rows)

    def _tests(self, kind: str, where: Where, frame: pd.DataFrame, ranking: str = "") -> Table:
        def outcome(row: Row) -> str:
            return OUTCOME_WORDS[row["outcome"]]

        heads = [Column("Comparison", self.words.compared, numeric=False), text("Metric", c.METRIC), self._backbone]
        columns = [
            *([] if ranking else [named("Ranking", c.RANKING)]),
            number("Baseline", "baseline_mean"),
            Column("Difference", lambda r: f.signed(r["difference"]), lambda r: f.interval(r["ci_low"], r["ci_high"])),
            Column("Gain", lambda r: f.percent(r["gain"]), self.words.gain_interval),
            number("p", "p", f.p_value),
            number("Holm p", "p_holm", f.p_value),
            number("Detectable", "detectable", f.percent),
            number("Effect dz", "effect", lambda value: f.signed(value, 3)),
            Column("Wins / ties / losses", self.words.users),
            number("Sd over seeds", "seed_sd"),
            number("Seeds", "seeds", f.integer),
            Column("Outcome", outcome, lambda row: row["status"][4:], numeric=False, tone="outcome"),
        ]
        return self._table(kind, where, frame, heads, columns, ["baseline_method", c.METHOD, c.METRIC], ranking=ranking)

    def groups(self, where: Where) -> Table:
        """Tabulate NDCG@10 for cold targets and by popularity of the target; HR@10 too for cold targets."""
        values = self.results.select("metrics", **where, headline=True, group=list(c.BY_POPULARITY))
        values = values.assign(what=values[c.METRIC] + " " + values[c.GROUP])
        users = values.groupby("what")[c.USERS].max()
        shown = [f"HR@10 {c.COLD}", *(f"NDCG@10 {group}" for group in c.BY_POPULARITY)]
        values = values[values["what"].isin(shown)]
        frame = self.results.beside(where, wide(values, SIDE, "what", ["mean"]))
        ranking = self.results.headline(where)
        columns = [
            number(title, f"{what} mean", note=f"n={f.integer(users.get(what))}")
            for title, what in zip([shown[0], *map(f.label, c.BY_POPULARITY)], shown, strict=True)
        ]
        heads, frame = self._sides[2:], frame.assign(ranking=ranking)
        return self._table("popularity", where, frame, heads, columns, [c.BACKBONE], last=[], ranking=ranking)

    # of any experiment

    def masks(self) -> Table:
        """Tabulate what the masks did, for every expected method but the baseline."""
        columns = {name: mean(title, name, 3) for name, title in MASKS.items()}
        return self._by_quantity("masks", columns, but="none")

    def pulls(self) -> Table | None:
        """Tabulate how hard each weighted loss pulls at each part of a model; None if no run logged it."""
        rows = self.results.select("quantities", experiment=c.MAIN).dropna(subset=["part"])
        if rows.empty:
            return None
        sides = self.results.select("sides", experiment=c.MAIN)[SIDE]
        frame = sides.merge(wide(rows, [*SIDE, "loss"], "part", ["mean"]), on=SIDE)
        named_parts = list(rows["part"].unique())
        shown = [*(part for part in PARTS if part in named_parts), *(part for part in named_parts if part not in PARTS)]
        columns = [number(part, f"{part} mean", f.significant) for part in shown]
        return self._table("pulls", {}, frame, [*self._sides, text("Loss", "loss")], columns, SIDE)

    def logged(self) -> Table:
        """Tabulate every loss part and figure that the methods logged, under its own name, at each run's kept epoch."""
        known = self.results.select("quantities", experiment=c.MAIN)["quantity"]
        skipped = (*MASKS, *COSTS, "denoised_hr5", "denoised_ndcg5", "denoised_changed")
        names = [name for name in dict.fromkeys(known) if name not in skipped and not name.startswith("gradient_")]
        columns = {name: number(name.replace("_", " "), f"{name} mean") for name in names}
        return self._by_quantity("logged", columns)

    def _by_quantity(
        self, kind: str, columns: Mapping[str, Column], last: Sequence[Column] = (), but: str = ""
    ) -> Table:
        """Tabulate quantities, those that runs have, for every expected method of the main experiment `but` one."""
        frame = self.results.beside({c.EXPERIMENT: c.MAIN}, self._quantities(list(columns), experiment=c.MAIN))
        frame = frame[frame[c.METHOD] != but]
        shown = [column for name, column in columns.items() if f"{name} mean" in frame]
        return self._table(kind, {}, frame, self._sides, shown, SIDE[:3], last=last)

    def _quantities(self, names: Sequence[str], **where: str) -> pd.DataFrame:
        rows = self.results.select("quantities", **where, quantity=list(names))
        return wide(rows, SIDE, "quantity", ["mean", "sd"])

    def kept(self, where: Where) -> Table | None:
        """Tabulate whether a mask drops cold items more often than popular ones; None where no mask was counted."""
        rows = self.results.select("keep", **where)
        if rows.empty:
            return None
        values = wide(rows, [*SIDE, "stage"], c.GROUP, ["mean", "sd", "seeds", "below", "inputs"])
        gap, groups = c.COLD_GAP, (c.COLD, c.TENTHS[0], c.TENTHS[-1])
        values = values.reindex(columns=list(dict.fromkeys([*values, f"{gap} mean", f"{gap} sd"])))
        frame = self.results.beside(where, values)
        frame = frame[frame["stage"].notna() | ((frame["status"] != c.DONE) & (frame[c.METHOD] != "none"))]

        columns = [
            Column("Stage", lambda row: self.label(str(row["stage"])), numeric=False),
            *(number(f"Kept of {f.label(name)}", f"{name} mean", f.share) for name in groups),
            Column("Cold minus D10", lambda r: f.points(r[f"{gap} mean"]), lambda r: f.plus_points(r[f"{gap} sd"])),
            Column("Drops cold more often", partial(self.words.drops_cold, gap=gap)),
            number("Cold inputs", f"{c.COLD} inputs", f.integer),
        ]
        return self._table("kept", where, frame, self._sides[1:], columns, SIDE, last=[])

    def _drops(self, **where: str) -> pd.DataFrame:
        """Select what denoisers dropped, less the controls, whose masks choose nothing."""
        rows = self.results.select("drops", **where)
        return rows[rows[c.METHOD].map(self.results.role) != "control"]

    def without_names(self, where: Where) -> list[Mapping[str, Any]]:
        """List protocol, method and backbones of masks that ran, but stored no names of what they dropped.

        Controls are left out, as in the tables of what was dropped.
        """
        cells = self.results.select("cells", **where, status=c.DONE)
        cells = cells[cells["test_keep_rate"].notna() & (cells[c.METHOD].map(self.results.role) != "control")]
        stored = pd.MultiIndex.from_frame(self._drops(**where)[SIDE])
        lacking = cells[~pd.MultiIndex.from_frame(cells[SIDE]).isin(stored)]
        keys = [c.PROTOCOL, c.METHOD]
        return [
            {**dict(zip(keys, key, strict=True)), "backbones": list(map(self.label, own[c.BACKBONE].unique()))}
            for key, own in lacking.groupby(keys, sort=False)
        ]

    def dropped(self, where: Where) -> Table | None:
        """Tabulate the items that masks kept least and most; None without masks."""
        rows, keys = self._drops(**where), [*SIDE, c.SEED, "place"]
        ends = [rows[rows["part"] == end].drop(columns=["part", c.USER, c.TARGET]) for end in ("least", "most")]
        frame = ends[0].merge(ends[1], on=[c.EXPERIMENT, *keys], suffixes=(" least", " most"))
        if frame.empty:
            return None

        def item(title: str, end: str) -> Column:
            rate = partial(self.words.keep_rate, end=end)
            return Column(title, lambda row: f.shortened(row[f"name {end}"]), rate, numeric=False)

        columns = [item("Kept least", "least"), item("Kept most", "most")]
        return self._table("dropped", where, frame, self._sides[1:], columns, SIDE)

    def histories(self, where: Where) -> Table | None:
        """Tabulate a few users' histories with what was dropped of them in brackets; None without masks."""
        rows = self._drops(**where, part="history")
        if rows.empty:
            return None
        names = rows["name"].map(f.shortened)
        rows = rows.assign(input=names.where(rows["keep"] > 0.5, "[" + names + "]"))
        keys = [c.DATASET, c.USER, c.TARGET, c.PROTOCOL, c.BACKBONE, c.METHOD, c.SEED]
        frame = rows.groupby(keys, sort=False)["input"].agg("; ".join).rename("inputs").reset_index()
        frame = frame.sort_values(c.USER, kind="stable", key=_by_first_seen)
        heads = [text("User", c.USER), *self._sides[1:]]
        columns = [
            Column("Latest inputs", lambda row: str(row["inputs"]), numeric=False),
            Column("To predict", lambda row: f.shortened(row[c.TARGET]), numeric=False),
        ]
        return self._table("histories", where, frame, heads, columns, [c.USER])

    def tails(self, where: Where) -> Table | None:
        """Tabulate HR@5 up while HR@20 goes down against the baseline; None if nothing stands beside it."""
        rows = self.results.select("tails", **where)
        if rows.empty:
            return None
        frame = self.results.beside(where, rows.drop(columns=c.EXPERIMENT))
        frame = frame[frame[c.METHOD].isin(rows[c.METHOD])]

        columns = [
            number("HR@5 gain", "HR@5 gain", f.percent),
            number("HR@20 gain", "HR@20 gain", f.percent),
            Column("HR@5 up, HR@20 down", self.words.tail),
        ]
        return self._table("signature", where, frame, self._sides[1:], columns, SIDE[:3], last=[])

    def denoised(self, where: Where) -> Table | None:
        """Tabulate the evaluation whose target is the last item that the mask kept, beside the honest one."""
        rows = self.results.select("denoised", **where)
        if rows.empty:
            return None
        values = ["honest_mean", "honest_sd", "denoised_mean", "denoised_sd", "inflation"]
        changed = self._quantities(["denoised_changed"], **where)
        frame = self.results.select("sides", **where)[SIDE].merge(wide(rows, SIDE, c.METRIC, values), on=SIDE)
        frame = frame.merge(changed, on=SIDE, how="left").assign(ranking="kept")
        columns = []
        for metric in dict.fromkeys(rows[c.METRIC]):
            columns += [
                mean(f"{metric}, honest", f"{metric} honest"),
                mean(f"{metric}, denoised target", f"{metric} denoised"),
                number(f"{metric}, inflation", f"{metric} inflation", f.percent),
            ]
        columns.append(number("Target changed", "denoised_changed mean", f.share))
        return self._table("denoised-target", where, _spaced(frame), self._sides[1:], columns, SIDE[:3])

    def not_run(self, reasons: Mapping[str, str]) -> Table:
        """Tabulate the methods of the literature that this project does not run, and why."""
        frame = pd.DataFrame(reasons.items(), columns=[c.METHOD, "reason"])
        return self._table("not-run", {}, frame, [text("Method", c.METHOD)], [text("Not run because", "reason")])

    def reliability(self, simulated: pd.DataFrame) -> Table:
        """Tabulate how often intervals and tests are right, of simulated grids by number and spread of seeds."""

        def shares(title: str, name: str) -> Column:
            return Column(title, lambda row: f.share(row[f"{name}_mean"]), lambda row: f.share(row[name]))

        gains = [found[1] for name in map(str, simulated) if (found := re.fullmatch(r"power_([\d.]+)", name))]
        heads = [text("Metric", c.METRIC), number("Seeds", "seeds", f.integer), number("Sd over seeds", "seed_sd")]
        columns = [
            shares("Intervals hold no gain", "coverage"),
            *(shares(f"Intervals hold {f.percent(gain)}", f"coverage_{gain}") for gain in gains),
            shares("A false finding in a family", "false_family"),
            *(shares(f"Finds {f.percent(gain)}", f"power_{gain}") for gain in gains),
        ]
        return self._table("reliability", {}, simulated, heads, columns, [c.METRIC, "seeds"])

    # further experiments

    def methods(self, where: Where) -> Table:
        """Tabulate accuracy, gain, mask and seeds of every method, the baseline first in each backbone."""
        experiment = self.results.experiment(where)
        base = self.label(experiment["baseline"])
        frame = self._with_tests(where, VALUE_METRICS, self._quantities(list(MASKS), **where))
        if experiment["points"]:
            frame[experiment["option"]] = frame[c.METHOD].map(experiment["points"])
        heads = [self._backbone, self._method(list(frame[c.METHOD]))]
        columns = [
            *(mean(metric, metric) for metric in VALUE_METRICS),
            *(gain(f"{metric} vs {base}", f"{metric} vs baseline ", with_p=True) for metric in TEST_METRICS),
            *(mean(title, name, 3) for name, title in MASKS.items() if f"{name} mean" in frame),
        ]
        kind = "sweep" if experiment["view"] == "sweep" else "methods"
        said = {"ranking": self.results.headline(where), "baseline": base}
        said["name"] = f"experiment-{experiment['name']}-{kind}-{where[c.DATASET]}-{where[c.PROTOCOL]}"
        return self._table("methods", where, frame, heads, columns, [c.BACKBONE], last=[self._seeds], **said)

    def _with_tests(self, where: Where, metrics: Sequence[str], *further: pd.DataFrame) -> pd.DataFrame:
        """Join methods with their metrics, as `<metric> vs baseline ...` their tests, and further tables."""
        values = self.results.select("metrics", **where, headline=True, group=c.ALL_USERS, metric=list(metrics))
        rows = self.results.against_baseline(where, metric=list(TEST_METRICS))
        tests = wide(rows.assign(what=rows[c.METRIC] + " vs baseline"), SIDE, "what", NUMBERS)
        tests["same_as"] = tests.get(f"{TEST_METRICS[0]} vs baseline same_as")
        frame = self.results.beside(where, wide(values, SIDE, c.METRIC, ["mean", "sd"]), tests, *further)
        return frame.assign(ranking=[self.results.headline({**where, c.PROTOCOL: name}) for name in frame[c.PROTOCOL]])

    def ladder(self, where: Where) -> Table:
        """Tabulate each rung's values, each method's gain on it, and what the rung itself does to the baseline."""
        factors = wide(self.results.select("rungs", **where), [*SIDE], c.METRIC, ["factor"])
        frame = self._with_tests(where, TEST_METRICS, factors)
        protocols = self.results.values(c.PROTOCOL, **where)
        frame["rung"] = [protocols.index(name) + 1 for name in frame[c.PROTOCOL]]
        frame = frame.sort_values(c.BACKBONE, kind="stable", key=_by_first_seen)
        base = self.label(self.results.experiment(where)["baseline"])

        rung = Column("Rung", lambda row: f"{row['rung']}. {row[c.PROTOCOL]}", numeric=False)
        heads, columns = [self._backbone, rung, self._method(list(frame[c.METHOD]))], []
        for metric in reversed(TEST_METRICS):
            columns += [
                mean(metric, metric),
                gain(f"vs {base}, same rung", f"{metric} vs baseline ", with_p=True),
                number(f"{base} vs rung before", f"{metric} factor", self.words.times),
            ]
        said = {"ranking": self.results.headline({**where, c.PROTOCOL: protocols[-1]}), "baseline": base}
        return self._table("ladder", where, frame, heads, columns, [c.BACKBONE, c.PROTOCOL], last=[self._seeds], **said)

    def spread(self, where: Where) -> Table:
        """Tabulate the spread over protocols that differ by chance, beside the spread over seeds."""
        frame = self.results.select("spreads", **where, metric=list(TEST_METRICS))
        frame = frame.sort_values([c.METRIC, c.BACKBONE], kind="stable", key=_by_first_seen)

        heads = [text("Metric", c.METRIC), self._backbone, Column("Method", self.words.difference, numeric=False)]
        columns = [
            number("Mean", "mean"),
            number("Sd over protocols", "sd"),
            Column("Least to most", lambda row: f"{f.fixed(row['min'])} to {f.fixed(row['max'])}"),
            number("Sd over seeds", "seed_sd"),
            number("Protocols", "protocols", f.integer),
        ]
        return self._table("spread", where, frame, heads, columns, [c.METRIC, c.BACKBONE])

    def budget(self, where: Where) -> Table:
        """Tabulate validation NDCG@10 and kept epoch at both budgets."""
        frame = _spaced(self.results.select("budgets", **where))
        usual, larger = where[c.PROTOCOL], str(frame["larger"].iloc[0])
        marks = {True: "yes", False: "no"}

        columns = [
            mean(f"NDCG@10, {usual}", "usual"),
            mean(f"NDCG@10, {larger}", "larger"),
            Column("Change", lambda row: f.percent(row["change"]), self.words.change_interval),
            Column(f"Kept epoch, {usual}", partial(self.words.kept_epoch, side="usual")),
            Column(f"Kept epoch, {larger}", partial(self.words.kept_epoch, side="larger")),
            Column("Large enough", lambda row: marks.get(row["enough"], f.NOTHING), numeric=False),
        ]
        heads, last = self._sides[2:], [number("Seeds", "seeds", f.integer)]
        context = self.words.context(where, protocols=[usual, larger])
        return self._table("budget", where, frame, heads, columns, [c.BACKBONE], last=last, context=context)

    def detection(self, where: Where) -> Table:
        """Tabulate what each method drops of known noise, beside accuracy under the protocol's ranking rule."""
        found = self.results.select("detections", **where).drop(columns=c.EXPERIMENT)
        frame = self._with_tests(where, TEST_METRICS, found)
        frame = frame.rename(columns={"noise_auc": "noise_auc mean", "noise_auc_sd": "noise_auc sd"})
        columns = [
            mean("AUC", "noise_auc", 3),
            number("AUC, untrained", "untrained_auc", lambda value: f.fixed(value, 3)),
            number("Precision", "drop_precision", f.share),
            number("Recall", "drop_recall", f.share),
            number("Dropped", "dropped", f.share),
            number("Times chance", "lift", lambda value: f.fixed(value, 2)),
            *(mean(metric, metric) for metric in TEST_METRICS),
        ]
        heads, noise = self._sides[2:], f.share(found["noise_share"].max())
        return self._table("detection", where, frame, heads, columns, [c.BACKBONE], last=[self._seeds], noise=noise)

    # the data, the settings, the runs

    def datasets(self, names: Sequence[str], name: str = "datasets") -> Table:
        """Tabulate size and source of each dataset, one column per dataset."""
        facts = {dataset: _dataset_facts(self.results.summaries[dataset]) for dataset in names}
        frame = pd.DataFrame(facts).rename_axis("property").reset_index()
        columns = [text(dataset, dataset) for dataset in names]
        return self._table("datasets", {}, frame, [text("Property", "property")], columns, name=name)

    def protocols(self, names: Sequence[str], table: str = "protocols", only_differences: bool = False) -> Table:
        """Tabulate what each protocol fixes, one column per protocol, as the run settings describe it."""
        facts = {name: self.results.settings["protocols"].get(name, {}) for name in names}
        keys = list(dict.fromkeys(key for values in facts.values() for key in values))
        frame = pd.DataFrame(facts, index=keys, columns=list(names), dtype=object).fillna(f.NOTHING)
        frame = frame[frame.nunique(axis=1) > 1] if only_differences else frame
        frame = frame.rename_axis("setting").reset_index()
        kind, columns = "differences" if only_differences else "protocols", [text(name, name) for name in names]
        return self._table(kind, {}, frame, [text("Setting", "setting")], columns, name=table)

    def tuned(self) -> Table | None:
        """Tabulate the values chosen on validation, one row per cell without seed; None if there are none."""
        tuned = self.results.settings.get("tuned") or []
        if not tuned:
            return None
        names = list(dict.fromkeys(name for row in tuned for name in row["values"]))
        rows = [{**{key: row[key] for key in (*SIDE, "like")}, **row["values"]} for row in tuned]
        frame = pd.DataFrame(rows, columns=[*SIDE, "like", *names], dtype=object)
        method = Column("Method", lambda row: self.label(row[c.METHOD]), self.words.tuned_as, numeric=False)
        columns = [text(name.replace("_", " "), name) for name in names]
        return self._table("tuned", {}, frame, [*self._sides[:3], method], columns, SIDE[:3])

    def settings(self) -> Table:
        """Tabulate the run settings, one row per value, keys joined by dots."""
        shown = {key: value for key, value in self.results.settings.items() if key not in _ELSEWHERE}
        flat = pd.json_normalize(shown).iloc[0]
        frame = pd.DataFrame({"setting": flat.index, "value": flat.map(f.plain).to_numpy()})
        return self._table("settings", {}, frame, [text("Setting", "setting")], [text("Value", "value")])

    def costs(self) -> Table:
        """Tabulate what a run of each method costs, beside the baseline with the same backbone."""
        columns = {
            name: number(title, f"{name} mean", partial(f.fixed, digits=digits))
            for name, (title, digits) in COSTS.items()
        }
        return self._by_quantity("costs", columns, last=[number("Runs", "seeds_done", f.integer)])

    def runs(self) -> Table:
        """Tabulate one row per expected run, whatever became of it."""
        frame = self.results.select("cells", experiment=c.MAIN)
        numbers = {"epochs": f.integer, "best_epoch": f.integer, "best_validation": f.fixed, "seconds_total": f.integer}
        numbers |= {"seconds_epoch": f.significant, "peak_memory_mb": f.integer, "parameters": f.integer}
        columns = [
            Column("Status", self.words.state, numeric=False),
            *(number(name.replace("_", " ").capitalize(), name, form) for name, form in numbers.items()),
            Column("Identity", lambda row: str(row["identity"] or "")[:DIGITS], numeric=False),
        ]
        heads, shown = [*self._sides, text("Seed", c.SEED)], frame.drop(columns="versions")
        return self._table("runs", {}, shown, heads, columns, SIDE[:3], runs=str(len(frame)))

    def environments(self, part: str, name: str) -> Table:
        """Tabulate the distinct environments of the runs, and how many runs each made."""
        frame = self.results.select("environments", part=part)
        columns = [text(title.capitalize(), title) for title in ("device", "threads", "machine", "versions")]
        heads = [Column("Commit", self.words.commit, numeric=False)]
        return self._table("environments", {}, frame, heads, [*columns, RUNS], name=name)

    def digests(self) -> Table:
        """Tabulate the distinct digests of inputs and source code, and how many runs used each."""
        heads, columns = [DATASET, text("What", "name")], [text("SHA-256", "digest"), RUNS]
        return self._table("digests", {}, self.results.tables["digests"], heads, columns, [c.DATASET])

    def encoders(self) -> Table:
        """Tabulate which encoder made the item embeddings."""
        frame = self.results.select("encoders", experiment=c.MAIN)
        names = ("", "_model", "_revision", "_pooling", "_dimension", "_options")
        columns = [text((name[1:] or "encoder").capitalize(), f"encoder{name}") for name in names]
        return self._table("encoders", {}, frame, [DATASET], [*columns, RUNS])


def _spaced(frame: pd.DataFrame) -> pd.DataFrame:
    """Name means and deviations as `wide` does."""
    return frame.rename(columns=lambda name: name.replace("_mean", " mean").replace("_sd", " sd"))


def _by_first_seen(column: pd.Series) -> pd.Series:
    return column.map({value: place for place, value in enumerate(dict.fromkeys(column))})


def _dataset_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    counts, length = summary["counts"], summary["length"]
    sources = (
        f"{source['file']} ({source['origin']}, sha256 {source['sha256'][:DIGITS]})" for source in summary["sources"]
    )
    return {
        "Title": str(summary.get("title") or f.NOTHING),
        "Users": f.integer(counts["users"]),
        "Items": f.integer(counts["items"]),
        "Interactions": f.integer(counts["interactions"]),
        "Mean length (range)": f"{f.fixed(length['mean'], 1)} ({length['min']} to {length['max']})",
        "Density": f.share(summary["density"], 3),
        "Items without title": f.integer(summary["items_without_title"]),
        "Tied in time": f.share(summary["tied_share"]),
        "Filter": f"{summary['min_count']}-core" if summary["min_count"] else "none",
        "Source files": "; ".join(sources) or f.NOTHING,
        "Item text": str(summary.get("text_note") or f.NOTHING),
        "Placeholder": str(summary.get("placeholder_note") or "no"),
    }

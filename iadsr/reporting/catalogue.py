"""The page's tables: each a query of what statistics decided, and its columns.

Their captions stand in `report/captions.toml`; `what` fills the places in them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from iadsr.core import columns as c
from iadsr.reporting import format as f
from iadsr.reporting.results import SIDE, Maker, protocol_facts
from iadsr.reporting.tables import OUTCOMES, Column, Row, Table, gain, mean, named, number, text, wide

ON_LISTS = {"coverage@10": "Coverage@10", "tied_share": "Tied targets"}  # metrics of all users together
GAIN_METRICS = ("HR@5", "NDCG@5", "NDCG@10")
VALUE_METRICS = ("HR@5", "NDCG@5", "HR@20", "NDCG@20")
TEST_METRICS = ("HR@5", "NDCG@10")
GROUPS = ("cold", *(f"decile_{number}" for number in range(1, 11)))
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
LOW, HIGH = "gain_low", "gain_high"
DIGITS = 12  # of a digest
DATASET, PROTOCOL, BACKBONE = (named(name.capitalize(), name) for name in (c.DATASET, c.PROTOCOL, c.BACKBONE))
RUNS = number("Runs", "runs", f.integer)
_ELSEWHERE = ("protocols", "datasets", "tuned", "method_files", "claims")  # settings that are shown elsewhere


class Catalogue(Maker):
    """Makes the tables of one page."""

    def _table(
        self,
        kind: str,
        name: str,
        frame: pd.DataFrame,
        columns: Sequence[Column],
        heads: int,
        opens: Sequence[str] = (),
        span: int = 0,
        **what: str,
    ) -> Table:
        caption = self.caption(kind, **what)
        return Table(f.slug(name), caption, frame.reset_index(drop=True), columns, heads, opens, span)

    def _seeds(self) -> Column:
        """Show the seeds done of those expected; the reasons of the others, unless none is done."""

        def note(row: Row) -> str:
            return str(row["note"]) if row["seeds_done"] else ""

        def seeds(row: Row) -> str:
            return f"{row['seeds_done']}/{row['seeds_expected']}" if row["seeds_expected"] else f.NOTHING

        return Column("Seeds", seeds, note, numeric=False)

    def _method(self, names: Sequence[str] = (), title: str = "Method") -> Column:
        """Show a method by its short name; below it what a defect is, and which method has the very same runs."""
        short = f.short_labels(names, self.results.titles)

        def sub(row: Row) -> str:
            same = f"same run as {self.label(row['same_as'])}" if row.get("same_as") else None
            return "; ".join(filter(None, (self.defects.get(f.defect_in(row[c.METHOD])), same)))

        return Column(title, lambda row: short.get(row[c.METHOD], self.label(row[c.METHOD])), sub, numeric=False)

    def _about(self, experiment: str, dataset: str) -> str:
        return f"{dataset}; encoder {self.results.encoders(experiment, dataset)}."

    # the main experiment

    def answer(self) -> Table:
        """Tabulate IADSR against its backbone and its controls, in the two metrics of the claim."""
        metrics, (rows, _) = self.results.findings["claim"]["metrics"], self.results.answered()
        pairs = rows[c.METRIC] + " vs " + rows["baseline_method"]
        rows = rows.assign(pair=pairs).sort_values([c.DATASET, c.PROTOCOL], kind="stable", key=_by_first_seen)
        frame = wide(rows, [c.DATASET, c.PROTOCOL, c.BACKBONE, c.RANKING], "pair", NUMBERS)
        columns, bases = [DATASET, PROTOCOL, BACKBONE], rows["baseline_method"].unique()
        columns += [gain(f"{name} vs {self.label(base)}", f"{name} vs {base} ") for name in metrics for base in bases]
        return self._table("answer", "answer", frame, columns, 3, [c.DATASET, c.PROTOCOL])

    def claims(self) -> Table:
        """Tabulate the verdict on each published claim: one row per claim and dataset, a column per protocol."""
        key, verdicts = ["claim", c.DATASET], self.results.tables["verdicts"]
        whole, own = (verdicts[(verdicts[c.PROTOCOL] == "") == one] for one in (True, False))
        frame = pd.DataFrame(self.results.settings["claims"], dtype=object).rename(columns={"id": "claim"})
        frame = frame.merge(whole[["claim", "verdict"]], on="claim")
        frame = frame.merge(own[key].drop_duplicates(), on="claim", how="left")
        protocols = list(dict.fromkeys(own[c.PROTOCOL]))
        if protocols:
            numbers = ("verdict", "against", "least", "most", "low", "high", "detectable", "lost", "weak")
            frame = frame.merge(wide(own, key, c.PROTOCOL, numbers), on=key, how="left")

        def under(protocol: str) -> Column:
            def verdict(row: Row) -> str:
                lost = row[f"{protocol} lost"] or 0
                return f"{row[f'{protocol} verdict'] or f.NOTHING}{f' ({lost:.0f} incomplete)' if lost else ''}"

            def why(row: Row) -> str:
                ends = [row[f"{protocol} {end}"] for end in ("least", "most")]
                against = str(row[f"{protocol} against"])
                if ends[0] is None:
                    return ""
                if row["rule"] == "spared":
                    return f"{' to '.join(dict.fromkeys(map(f.points, ends)))} points, cold inputs against popular ones"
                if row["rule"] == "between":
                    return f"{MASKS.get(against, against)}: {' to '.join(dict.fromkeys(map(f.share, ends)))}"
                gains = " to ".join(dict.fromkeys(map(f.percent, ends)))
                bounds = f.percent_interval(row[f"{protocol} low"], row[f"{protocol} high"])
                baselines, weak = (
                    f.listed([self.label(name) for name in names.split(", ") if name])
                    for names in (against, row[f"{protocol} weak"])
                )
                found = f"{gains} {bounds} vs {baselines}; finds gains from {f.share(row[f'{protocol} detectable'])}"
                return f"{found}; baseline below the most popular items: {weak}" if weak else found

            return Column(f"Under “{protocol}”", verdict, why, numeric=False)

        columns = [text("Claim", "title", "sentence"), text("Verdict", "verdict")]
        columns += [text("Dataset", c.DATASET)] if own[c.DATASET].nunique() > 1 else []
        return self._table("claims", "claims", frame, [*columns, *map(under, protocols)], 1, ["claim"])

    def overall(self, dataset: str, protocol: str, ranking: str) -> Table:
        """Tabulate every backbone and method: mean and standard deviation over seeds, gains over the baseline."""
        where = {c.EXPERIMENT: c.MAIN, c.DATASET: dataset, c.PROTOCOL: protocol}
        values = self.results.select("metrics", **where, ranking=ranking, group="all")
        metrics = [name for name in values[c.METRIC].unique() if name not in ON_LISTS]
        values = wide(values[values[c.METRIC].isin(metrics)], SIDE, c.METRIC, ["mean", "sd", "gain", "best"])
        popular = values[values[c.METHOD] == "most_popular"].assign(**{c.EXPERIMENT: c.MAIN}, status=c.DONE, note="")
        popular = popular.assign(seeds_done=0, seeds_expected=0)
        sides = self.results.beside(self.results.sides(**where), values)
        frame = pd.concat([popular[list(sides)], sides]).assign(ranking=ranking)
        base = self.label(self.results.settings["baseline"])
        columns = [
            BACKBONE,
            self._method(),
            *(mean(metric, metric, bold=f"{metric} best") for metric in metrics),
            *(number(f"{metric} vs {base}", f"{metric} gain", f.percent) for metric in GAIN_METRICS),
            self._seeds(),
        ]
        context = self.results.context(c.MAIN, dataset, [protocol], ranking)
        name = f"overall-{dataset}-{protocol}-{ranking}"
        return self._table("overall", name, frame, columns, 2, [c.BACKBONE], len(columns) - 3, context=context)

    def coverage(self, dataset: str, protocol: str) -> Table:
        """Tabulate coverage and tied targets of every method under both ranking rules."""
        where = {c.EXPERIMENT: c.MAIN, c.DATASET: dataset, c.PROTOCOL: protocol}
        values = self.results.select("metrics", **where, group="all", metric=list(ON_LISTS))
        values = wide(values.assign(what=values[c.METRIC] + " " + values[c.RANKING]), SIDE, "what", ["mean", "sd"])
        frame = self.results.beside(self.results.sides(**where), values)
        shown = [(metric, rule) for metric in ON_LISTS for rule in c.RANKINGS if f"{metric} {rule} mean" in frame]
        columns = [BACKBONE, self._method()]
        columns += [mean(ON_LISTS[metric], f"{metric} {rule}", 3, note=self.label(rule)) for metric, rule in shown]
        context = self.results.context(c.MAIN, dataset, [protocol])
        name = f"coverage-{dataset}-{protocol}"
        return self._table("coverage", name, frame, columns, 2, [c.BACKBONE], len(shown), context=context)

    def tests(self, dataset: str, protocol: str) -> Table:
        """Tabulate paired tests in the claim's metrics and NDCG@10, under the protocol's own ranking rule."""
        where = {c.EXPERIMENT: c.MAIN, c.DATASET: dataset, c.PROTOCOL: protocol, "headline": True}
        rows = self.results.select("comparisons", **where, metric=list(GAIN_METRICS), kind=["method", "backbones"])
        frame = rows.sort_values(["baseline_method", c.METHOD, c.METRIC], kind="stable", key=_by_first_seen)
        context = self.results.context(c.MAIN, dataset, [protocol], self.results.headline(c.MAIN, protocol))
        return self._tests("tests", f"tests-{dataset}-{protocol}", frame, context)

    def protocol_effects(self, dataset: str) -> Table:
        """Tabulate what the protocol changes without a denoiser, under one ranking rule on both sides (NDCG@10)."""
        rows = self.results.select("comparisons", kind="protocol", dataset=dataset, method="none", metric="NDCG@10")
        context = self.results.context(c.MAIN, dataset, self.results.values(c.PROTOCOL, experiment=c.MAIN))
        return self._tests("protocol-effects", f"protocol-effects-{dataset}", rows, context)

    def _tests(self, kind: str, name: str, frame: pd.DataFrame, context: str) -> Table:
        def compared(row: Row) -> str:
            protocols = row[c.PROTOCOL] != row["baseline_protocol"]
            first, second = (c.PROTOCOL, "baseline_protocol") if protocols else (c.METHOD, "baseline_method")
            return f"{self.label(row[first])} vs {self.label(row[second])}"

        def counts(row: Row) -> str:
            return " / ".join(f.integer(row[part]) for part in ("wins", "ties", "losses"))

        def outcome(row: Row) -> str:
            return OUTCOMES[row["outcome"]]

        columns = [
            Column("Comparison", compared, numeric=False),
            text("Metric", c.METRIC),
            BACKBONE,
            *([named("Ranking", c.RANKING)] if kind == "protocol-effects" else []),
            number("Baseline", "baseline_mean"),
            Column("Difference", lambda r: f.signed(r["difference"]), lambda r: f.interval(r["ci_low"], r["ci_high"])),
            Column("Gain", lambda r: f.percent(r["gain"]), lambda r: f.percent_interval(r[LOW], r[HIGH])),
            number("p", "p", f.p_value),
            number("Holm p", "p_holm", f.p_value),
            number("Detectable", "detectable", f.percent),
            number("Effect dz", "effect", lambda value: f.signed(value, 3)),
            Column("Wins / ties / losses", counts),
            number("Sd over seeds", "seed_sd"),
            number("Seeds", "seeds", f.integer),
            Column("Outcome", outcome, lambda row: row["status"][4:], numeric=False, tone="outcome"),
        ]
        return self._table(kind, name, frame, columns, 3, ["baseline_method", c.METHOD, c.METRIC], context=context)

    def groups(self, dataset: str, protocol: str) -> Table:
        """Tabulate NDCG@10 for cold targets and by popularity of the target; HR@10 too for cold targets."""
        where = {c.EXPERIMENT: c.MAIN, c.DATASET: dataset, c.PROTOCOL: protocol}
        values = self.results.select("metrics", **where, headline=True, metric=["NDCG@10", "HR@10"], group=list(GROUPS))
        values = values.assign(what=values[c.METRIC] + " " + values[c.GROUP])
        users = values.groupby("what")[c.USERS].max()
        wanted = ["HR@10 cold", *(f"NDCG@10 {group}" for group in GROUPS)]
        values = values[values["what"].isin(wanted)]
        frame = self.results.beside(self.results.sides(**where), wide(values, SIDE, "what", ["mean"]))
        columns = [BACKBONE, self._method()]
        for title, what in zip([wanted[0], *map(group_label, GROUPS)], wanted, strict=True):
            columns.append(number(title, f"{what} mean", note=f"n={f.integer(users.get(what))}"))
        ranking = self.results.headline(c.MAIN, protocol)
        context = self.results.context(c.MAIN, dataset, [protocol], ranking)
        name, frame = f"popularity-{dataset}-{protocol}", frame.assign(ranking=ranking)
        return self._table("groups", name, frame, columns, 2, [c.BACKBONE], len(wanted), context=context)

    # of any experiment

    def masks(self, experiment: str) -> Table:
        """Tabulate what the masks did, for every expected method but the baseline."""
        sides = self.results.sides(experiment=experiment)
        values = self._quantities(list(MASKS), experiment=experiment)
        frame = self.results.beside(sides[sides[c.METHOD] != "none"], values)
        shown = [name for name in MASKS if f"{name} mean" in frame]
        columns = [DATASET, PROTOCOL, BACKBONE, self._method(), *(mean(MASKS[name], name, 3) for name in shown)]
        return self._table("masks", _prefixed(experiment, "masks"), frame, columns, 4, SIDE[:3], len(shown))

    def pulls(self) -> Table | None:
        """Tabulate how hard each weighted loss pulls at each part of a model; None if no run logged it."""
        rows = self.results.select("quantities", experiment=c.MAIN)
        losses = [name.removeprefix("loss_") for name in rows["quantity"].unique() if name.startswith("loss_")]
        names = "|".join(map(re.escape, sorted(losses, key=len, reverse=True)))
        parts = rows["quantity"].str.extract(rf"^gradient_(?P<loss>{names})_(?P<part>.+)$")
        rows = rows.join(parts).dropna(subset=["part"])
        if rows.empty:
            return None
        sides = self.results.sides(experiment=c.MAIN)[SIDE]
        frame = sides.merge(wide(rows, [*SIDE, "loss"], "part", ["mean"]), on=SIDE)
        named_parts = list(rows["part"].unique())
        shown = [*(part for part in PARTS if part in named_parts), *(part for part in named_parts if part not in PARTS)]
        columns = [DATASET, PROTOCOL, BACKBONE, self._method(), text("Loss", "loss")]
        columns += [number(part, f"{part} mean", f.significant) for part in shown]
        return self._table("pulls", "pulls", frame, columns, 5, SIDE)

    def logged(self) -> Table:
        """Tabulate every loss part and figure that the methods logged, under its own name, at each run's kept epoch."""
        known = self.results.select("quantities", experiment=c.MAIN)["quantity"]
        skipped = (*MASKS, *COSTS, "denoised_hr5", "denoised_ndcg5", "denoised_changed")
        names = [name for name in dict.fromkeys(known) if name not in skipped and not name.startswith("gradient_")]
        frame = self.results.beside(self.results.sides(experiment=c.MAIN), self._quantities(names, experiment=c.MAIN))
        columns = [DATASET, PROTOCOL, BACKBONE, self._method()]
        columns += [number(name.replace("_", " "), f"{name} mean") for name in names]
        return self._table("logged", "logged", frame, columns, 4, SIDE[:3], len(names))

    def _quantities(self, names: Sequence[str], **where: str) -> pd.DataFrame:
        rows = self.results.select("quantities", **where, quantity=list(names))
        return wide(rows, SIDE, "quantity", ["mean", "sd"])

    def kept(self, experiment: str, dataset: str) -> Table | None:
        """Tabulate whether a mask drops cold items more often than popular ones; None where no mask was counted."""
        rows = self.results.select("keep", experiment=experiment, dataset=dataset)
        if rows.empty:
            return None
        gap = "cold minus decile_10"
        sides = self.results.sides(experiment=experiment, dataset=dataset)
        values = wide(rows, [*SIDE, "stage"], c.GROUP, ["mean", "sd", "seeds", "below", "inputs"])
        frame = self.results.beside(sides, values.assign(**dict.fromkeys({f"{gap} mean", f"{gap} sd"} - {*values})))
        frame = frame[frame["stage"].notna() | ((frame["status"] != c.DONE) & (frame[c.METHOD] != "none"))]

        def verdict(row: Row) -> str:
            seeds = row.get(f"{gap} seeds")
            if not seeds:
                return "no cold inputs"
            return f"{'yes' if row[f'{gap} mean'] < 0 else 'no'}, in {row[f'{gap} below']:.0f} of {seeds:.0f} seeds"

        columns = [
            PROTOCOL,
            BACKBONE,
            self._method(),
            Column("Stage", lambda row: self.label(str(row["stage"])), numeric=False),
            *(number(f"Kept of {group_label(name)}", f"{name} mean", f.share) for name in (*GROUPS[:2], GROUPS[-1])),
            Column("Cold minus D10", lambda r: f.points(r[f"{gap} mean"]), lambda r: f.plus_points(r[f"{gap} sd"])),
            Column("Drops cold more often", verdict),
            number("Cold inputs", "cold inputs", f.integer),
        ]
        name, context = _prefixed(experiment, "kept", dataset), self._about(experiment, dataset)
        return self._table("kept", name, frame, columns, 3, SIDE, 7, context=context)

    def _drops(self, dataset: str) -> pd.DataFrame:
        """Select what denoisers dropped in the main experiment, less the controls, whose masks choose nothing."""
        rows = self.results.select("drops", experiment=c.MAIN, dataset=dataset)
        return rows[~rows[c.METHOD].map(self.results.is_control).astype(bool)]

    def dropped(self, dataset: str) -> Table | None:
        """Tabulate the items that masks kept least and most; None without masks."""
        rows, keys = self._drops(dataset), [*SIDE, c.SEED, "place"]
        ends = [rows[rows["part"] == end].drop(columns=["part", c.USER, c.TARGET]) for end in ("least", "most")]
        frame = ends[0].merge(ends[1], on=[c.EXPERIMENT, *keys], suffixes=(" least", " most"))
        if frame.empty:
            return None

        def item(title: str, end: str) -> Column:
            def rate(row: Row) -> str:
                return f"{f.share(row[f'keep {end}'])} of {f.integer(row[f'inputs {end}'])} inputs"

            return Column(title, lambda row: f.shortened(row[f"name {end}"]), rate, numeric=False)

        columns = [PROTOCOL, BACKBONE, self._method(), item("Kept least", "least"), item("Kept most", "most")]
        name, context = _prefixed(c.MAIN, "dropped", dataset), self._about(c.MAIN, dataset)
        return self._table("dropped", name, frame, columns, 3, SIDE, context=context)

    def histories(self, dataset: str) -> Table | None:
        """Tabulate a few users' histories with what was dropped of them in brackets; None without masks."""
        rows = self._drops(dataset)
        rows = rows[rows["part"] == "history"]
        if rows.empty:
            return None
        names = rows["name"].map(f.shortened)
        rows = rows.assign(input=names.where(rows["keep"] > 0.5, "[" + names + "]"))
        keys = [c.DATASET, c.USER, c.TARGET, c.PROTOCOL, c.BACKBONE, c.METHOD, c.SEED]
        frame = rows.groupby(keys, sort=False)["input"].agg("; ".join).rename("inputs").reset_index()
        frame = frame.sort_values(c.USER, kind="stable", key=_by_first_seen)
        columns = [
            text("User", c.USER), PROTOCOL, BACKBONE, self._method(),
            Column("Latest inputs", lambda row: str(row["inputs"]), numeric=False),
            Column("To predict", lambda row: f.shortened(row[c.TARGET]), numeric=False),
        ]  # fmt: skip
        name, context = _prefixed(c.MAIN, "histories", dataset), self._about(c.MAIN, dataset)
        return self._table("histories", name, frame, columns, 4, [c.USER], context=context)

    def tails(self, experiment: str, dataset: str) -> Table | None:
        """Tabulate HR@5 up while HR@20 goes down against the baseline; None if nothing stands beside it."""
        rows = self.results.select("tails", experiment=experiment, dataset=dataset)
        if rows.empty:
            return None
        sides = self.results.sides(experiment=experiment, dataset=dataset)
        frame = self.results.beside(sides, rows.drop(columns=c.EXPERIMENT))
        frame = frame[frame[c.METHOD].isin(rows[c.METHOD])]

        def shown(row: Row) -> str:
            return f"{'yes' if row['shown'] else 'no'}, in {row['seeds_shown']:.0f} of {row['seeds']:.0f} seeds"

        columns = [PROTOCOL, BACKBONE, self._method()]
        columns += [number(f"{metric} gain", f"{metric} gain", f.percent) for metric in ("HR@5", "HR@20")]
        columns.append(Column("HR@5 up, HR@20 down", shown))
        name, context = _prefixed(experiment, "signature", dataset), self._about(experiment, dataset)
        return self._table("tails", name, frame, columns, 3, SIDE[:3], 3, context=context)

    def denoised(self, experiment: str, dataset: str) -> Table | None:
        """Tabulate the evaluation whose target is the last item that the mask kept, beside the honest one."""
        rows = self.results.select("denoised", experiment=experiment, dataset=dataset)
        if rows.empty:
            return None
        values = ["honest_mean", "honest_sd", "denoised_mean", "denoised_sd", "inflation"]
        sides = self.results.sides(experiment=experiment, dataset=dataset)[SIDE]
        frame = sides.merge(wide(rows, SIDE, c.METRIC, values), on=SIDE)
        changed = self._quantities(["denoised_changed"], experiment=experiment)
        frame = frame.merge(changed, on=SIDE, how="left").assign(ranking="kept")
        frame.columns = frame.columns.str.replace("_mean", " mean").str.replace("_sd", " sd")
        columns = [PROTOCOL, BACKBONE, self._method()]
        for metric in dict.fromkeys(rows[c.METRIC]):
            pairs = (("honest", "honest"), ("denoised target", "denoised"))
            columns += [mean(f"{metric}, {title}", f"{metric} {name}") for title, name in pairs]
            columns.append(number(f"{metric}, inflation", f"{metric} inflation", f.percent))
        columns.append(number("Target changed", "denoised_changed mean", f.share))
        name, context = _prefixed(experiment, "denoised-target", dataset), self._about(experiment, dataset)
        return self._table("denoised", name, frame, columns, 3, SIDE[:3], context=context)

    def not_run(self, reasons: Mapping[str, str]) -> Table:
        """Tabulate the methods of the literature that this project does not run, and why."""
        frame = pd.DataFrame(reasons.items(), columns=[c.METHOD, "reason"])
        columns = [text("Method", c.METHOD), text("Not run because", "reason")]
        return self._table("not-run", "not-run", frame, columns, 1)

    # further experiments

    def methods(self, experiment: Mapping[str, Any], dataset: str, protocol: str) -> Table:
        """Tabulate accuracy, gain, mask and seeds of every method, the baseline first in each backbone."""
        where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset, c.PROTOCOL: protocol}
        frame, base = self._accuracy(experiment, VALUE_METRICS, **where), self.label(experiment["baseline"])
        frame = self.results.beside(frame, self._quantities(list(MASKS), **where))
        if experiment["points"]:
            frame[experiment["option"]] = frame[c.METHOD].map(experiment["points"])
        shown = [name for name in MASKS if f"{name} mean" in frame]
        columns = [
            BACKBONE,
            self._method(list(frame[c.METHOD])),
            *(mean(metric, metric) for metric in VALUE_METRICS),
            *(gain(f"{metric} vs {base}", f"{metric} vs baseline ", with_p=True) for metric in TEST_METRICS),
            *(mean(MASKS[name], name, 3) for name in shown),
            self._seeds(),
        ]
        ranking = self.results.headline(experiment["name"], protocol)
        context = self.results.context(experiment["name"], dataset, [protocol], ranking)
        kind = "sweep" if experiment["view"] == "sweep" else "methods"
        name = _prefixed(experiment["name"], kind, dataset, protocol)
        what = {"context": context, "baseline": base}
        return self._table("methods", name, frame, columns, 2, [c.BACKBONE], len(columns) - 3, **what)

    def _accuracy(self, experiment: Mapping[str, Any], metrics: Sequence[str], /, **where: Any) -> pd.DataFrame:
        """Join sides with their metrics and, as `<metric> vs baseline ...`, their tests."""
        values = self.results.select("metrics", **where, headline=True, group="all", metric=list(metrics))
        rows = self.results.select("comparisons", **where, headline=True, kind="method", metric=list(TEST_METRICS))
        rows = rows[rows["baseline_method"] == experiment["baseline"]]
        rows = rows.assign(what=rows[c.METRIC] + " vs baseline")
        tests = wide(rows, SIDE, "what", NUMBERS)
        tests["same_as"] = tests.get(f"{TEST_METRICS[0]} vs baseline same_as")
        frame = self.results.beside(self.results.sides(**where), wide(values, SIDE, c.METRIC, ["mean", "sd"]), tests)
        return frame.assign(ranking=[self.results.headline(experiment["name"], name) for name in frame[c.PROTOCOL]])

    def ladder(self, experiment: Mapping[str, Any], dataset: str) -> Table:
        """Tabulate each rung's values, each method's gain on it, and what the rung itself does to the baseline."""
        where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset}
        frame = self._accuracy(experiment, TEST_METRICS, **where)
        factors = wide(self.results.select("rungs", **where), [*SIDE], c.METRIC, ["factor"])
        frame = self.results.beside(frame, factors)
        protocols = self.results.values(c.PROTOCOL, **where)
        frame["rung"] = [protocols.index(name) + 1 for name in frame[c.PROTOCOL]]
        frame = frame.sort_values(c.BACKBONE, kind="stable", key=_by_first_seen)
        base = self.label(experiment["baseline"])

        def times(value: Any) -> str:
            return f.NOTHING if value is None else f"\u00d7{f.fixed(value, 2)}"

        rung = Column("Rung", lambda row: f"{row['rung']}. {row[c.PROTOCOL]}", numeric=False)
        columns = [BACKBONE, rung, self._method(list(frame[c.METHOD]))]
        for metric in reversed(TEST_METRICS):
            columns += [mean(metric, metric), gain(f"vs {base}, same rung", f"{metric} vs baseline ", with_p=True)]
            columns.append(number(f"{base} vs rung before", f"{metric} factor", times))
        columns.append(self._seeds())
        ranking = self.results.headline(experiment["name"], protocols[-1])
        context = self.results.context(experiment["name"], dataset, protocols, ranking)
        name = _prefixed(experiment["name"], "ladder", dataset)
        opens = [c.BACKBONE, c.PROTOCOL]
        return self._table("ladder", name, frame, columns, 3, opens, len(columns) - 4, context=context, baseline=base)

    def spread(self, experiment: Mapping[str, Any], dataset: str) -> Table:
        """Tabulate the spread over protocols that differ by chance, beside the spread over seeds."""
        where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset}
        frame = self.results.select("spreads", **where, metric=list(TEST_METRICS))
        frame = frame.sort_values([c.METRIC, c.BACKBONE], kind="stable", key=_by_first_seen)

        def method(row: Row) -> str:
            return " minus ".join(self.label(row[name]) for name in (c.METHOD, "minus") if row[name])

        columns = [
            text("Metric", c.METRIC),
            BACKBONE,
            Column("Method", method, numeric=False),
            number("Mean", "mean"),
            number("Sd over protocols", "sd"),
            Column("Least to most", lambda row: f"{f.fixed(row['min'])} to {f.fixed(row['max'])}"),
            number("Sd over seeds", "seed_sd"),
            number("Protocols", "protocols", f.integer),
        ]
        protocols = self.results.values(c.PROTOCOL, **where)
        context = self.results.context(experiment["name"], dataset, protocols)
        name = _prefixed(experiment["name"], "spread", dataset)
        return self._table("spread", name, frame, columns, 3, [c.METRIC, c.BACKBONE], context=context)

    def budget(self, experiment: Mapping[str, Any], dataset: str, protocol: str) -> Table:
        """Tabulate validation NDCG@10 and kept epoch at both budgets."""
        where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset, c.PROTOCOL: protocol}
        frame = self.results.select("budgets", **where)
        frame = frame.rename(columns=lambda name: name.replace("_mean", " mean").replace("_sd", " sd"))
        frame = frame.assign(status=[c.DONE if seeds else "missing" for seeds in frame["seeds"]])
        larger = str(frame["larger"].iloc[0])
        marks = {True: "yes", False: "no"}

        def epochs(side: str) -> Callable[[Row], str]:
            return lambda row: f"{f.fixed(row[f'{side}_kept_epoch'], 1)} of {f.fixed(row[f'{side}_epochs'], 1)}"

        columns = [
            BACKBONE,
            self._method(),
            mean(f"NDCG@10, {protocol}", "usual"),
            mean(f"NDCG@10, {larger}", "larger"),
            Column("Change", lambda row: f.percent(row["change"]), lambda row: f.plus_points(row["change sd"])),
            Column(f"Kept epoch, {protocol}", epochs("usual")),
            Column(f"Kept epoch, {larger}", epochs("larger")),
            Column("Large enough", lambda row: marks.get(row["enough"], f.NOTHING), numeric=False),
            number("Seeds", "seeds", f.integer),
        ]
        context = self.results.context(experiment["name"], dataset, [protocol, larger])
        name = _prefixed(experiment["name"], "budget", dataset, protocol)
        return self._table("budget", name, frame, columns, 2, [c.BACKBONE], 6, context=context)

    def detection(self, experiment: Mapping[str, Any], dataset: str, protocol: str) -> Table:
        """Tabulate what each method drops of known noise, beside accuracy under the protocol's ranking rule."""
        where = {c.EXPERIMENT: experiment["name"], c.DATASET: dataset, c.PROTOCOL: protocol}
        found = self.results.select("detections", **where).drop(columns=c.EXPERIMENT)
        frame = self.results.beside(self._accuracy(experiment, TEST_METRICS, **where), found)
        frame = frame.rename(columns={"noise_auc": "noise_auc mean", "noise_auc_sd": "noise_auc sd"})
        columns = [
            BACKBONE,
            self._method(),
            mean("AUC", "noise_auc", 3),
            number("AUC, untrained", "untrained_auc", lambda value: f.fixed(value, 3)),
            number("Precision", "drop_precision", f.share),
            number("Recall", "drop_recall", f.share),
            number("Dropped", "dropped", f.share),
            number("Times chance", "lift", lambda value: f.fixed(value, 2)),
            *(mean(metric, metric) for metric in TEST_METRICS),
            self._seeds(),
        ]
        context = self.results.context(experiment["name"], dataset, [protocol])
        name = _prefixed(experiment["name"], "detection", dataset, protocol)
        noise = f.share(found["noise_share"].max())
        return self._table("detection", name, frame, columns, 2, [c.BACKBONE], 8, context=context, noise=noise)

    # the data, the settings, the runs

    def datasets(self, names: Sequence[str], name: str = "datasets") -> Table:
        """Tabulate size and source of each dataset, one column per dataset."""
        facts = {dataset: _dataset_facts(self.results.summaries[dataset]) for dataset in names}
        frame = pd.DataFrame(facts).rename_axis("property").reset_index()
        columns = [text("Property", "property"), *(text(dataset, dataset) for dataset in names)]
        return self._table("datasets", name, frame, columns, 1)

    def protocols(self, names: Sequence[str], table: str = "protocols", only_differences: bool = False) -> Table:
        """Tabulate what each protocol fixes, one column per protocol, as the run settings describe it."""
        facts = {name: protocol_facts(self.results.settings, name) for name in names}
        keys = list(dict.fromkeys(key for values in facts.values() for key in values))
        rows = [{"setting": key, **{name: facts[name].get(key, f.NOTHING) for name in names}} for key in keys]
        if only_differences:
            rows = [row for row in rows if len({row[name] for name in names}) > 1]
        frame = pd.DataFrame(rows, columns=["setting", *names])
        columns = [text("Setting", "setting"), *(text(name, name) for name in names)]
        return self._table("differences" if only_differences else "protocols", table, frame, columns, 1)

    def tuned(self) -> Table | None:
        """Tabulate the values chosen on validation, one row per cell without seed; None if there are none."""
        tuned = self.results.settings.get("tuned") or []
        if not tuned:
            return None
        names = list(dict.fromkeys(name for row in tuned for name in row["values"]))
        rows = [{**{key: row[key] for key in (*SIDE, "like")}, **row["values"]} for row in tuned]
        frame = pd.DataFrame(rows, columns=[*SIDE, "like", *names], dtype=object)

        def like(row: Row) -> str:
            return "" if row["like"] == row[c.METHOD] else f"as {self.label(str(row['like']))}"

        method = Column("Method", lambda row: self.label(row[c.METHOD]), like, numeric=False)
        columns = [DATASET, PROTOCOL, BACKBONE, method]
        columns += [text(name.replace("_", " "), name) for name in names]
        return self._table("tuned", "tuned", frame, columns, 4, SIDE[:3])

    def settings(self) -> Table:
        """Tabulate the run settings, one row per value, keys joined by dots."""
        shown = {key: value for key, value in self.results.settings.items() if key not in _ELSEWHERE}
        flat = pd.json_normalize(shown).iloc[0]
        frame = pd.DataFrame({"setting": flat.index, "value": flat.map(f.plain).to_numpy()})
        return self._table("settings", "settings", frame, [text("Setting", "setting"), text("Value", "value")], 1)

    def costs(self) -> Table:
        """Tabulate what a run of each method costs, beside the baseline with the same backbone."""
        values = self._quantities(list(COSTS), experiment=c.MAIN)
        frame = self.results.beside(self.results.sides(experiment=c.MAIN), values)
        shown = [name for name in COSTS if f"{name} mean" in frame]
        columns = [DATASET, PROTOCOL, BACKBONE, self._method()]
        for name in shown:
            title, digits = COSTS[name]
            columns.append(number(title, f"{name} mean", functools.partial(f.fixed, digits=digits)))
        columns.append(number("Runs", "seeds_done", f.integer))
        return self._table("costs", "costs", frame, columns, 4, SIDE[:3], len(shown))

    def runs(self) -> Table:
        """Tabulate one row per expected run, whatever became of it."""
        frame = self.results.select("cells", experiment=c.MAIN)

        def state(row: Row) -> str:
            return f"{row['status']}: {row['reason']}" if row["reason"] else str(row["status"])

        numbers = {"epochs": f.integer, "best_epoch": f.integer, "best_validation": f.fixed, "seconds_total": f.integer}
        numbers |= {"seconds_epoch": f.significant, "peak_memory_mb": f.integer, "parameters": f.integer}
        columns = [
            *(DATASET, PROTOCOL, BACKBONE, self._method(), text("Seed", c.SEED)),
            Column("Status", state, numeric=False),
            *(number(name.replace("_", " ").capitalize(), name, form) for name, form in numbers.items()),
            Column("Identity", lambda row: str(row["identity"] or "")[:DIGITS], numeric=False),
        ]
        return self._table("runs", "runs", frame.drop(columns="versions"), columns, 5, SIDE[:3], runs=str(len(frame)))

    def environments(self, part: str, name: str) -> Table:
        """Tabulate the distinct environments of the runs, and how many runs each made."""
        frame = self.results.select("environments", part=part)
        states = {True: "uncommitted changes", False: "clean"}

        def commit(row: Row) -> str:
            return f"{str(row['commit'] or 'no commit')[:DIGITS]} ({states.get(row['dirty'], 'state unknown')})"

        columns = [Column("Commit", commit, numeric=False)]
        columns += [text(title.capitalize(), title) for title in ("device", "threads", "machine", "versions")]
        return self._table("environments", name, frame, [*columns, RUNS], 1)

    def digests(self) -> Table:
        """Tabulate the distinct digests of inputs and source code, and how many runs used each."""
        columns = [DATASET, text("What", "name"), text("SHA-256", "digest"), RUNS]
        return self._table("digests", "digests", self.results.tables["digests"], columns, 2, [c.DATASET])

    def encoders(self) -> Table:
        """Tabulate which encoder made the item embeddings."""
        frame = self.results.select("encoders", experiment=c.MAIN)
        names = ("", "_model", "_revision", "_pooling", "_dimension", "_options")
        columns = [DATASET, *(text((name[1:] or "encoder").capitalize(), f"encoder{name}") for name in names)]
        return self._table("encoders", "encoders", frame, [*columns, RUNS], 1)


def _prefixed(experiment: str, *parts: str) -> str:
    """Name a table; the name of a further experiment comes first."""
    return f.slug(*(() if experiment == c.MAIN else ("experiment", experiment)), *parts)


def _by_first_seen(column: pd.Series) -> pd.Series:
    return column.map({value: place for place, value in enumerate(dict.fromkeys(column))})


def group_label(group: str) -> str:
    """Return `cold` or `D1` (least popular) to `D10`."""
    return group.replace("decile_", "D")


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

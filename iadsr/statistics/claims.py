"""Verdicts on published claims, from the stage's own tables.

A claim is judged in every dataset and protocol by itself, over the comparisons or runs that its rule names, and then as
a whole. Each of them is worth a verdict:

- a comparison with the expected outcome: reproduced, or partly if its interval lies below the published gain;
- one with the other outcome: opposite;
- no significant difference: not reproduced, if the two are shown to be equal, are the very same runs, or the interval
  rules out the least published gain (or loss; `crossed.MARGIN`, where no figure is published); else underpowered;
- one seed of a comparison or quantity: underpowered, for one run is no evidence of a method (the very same runs need no
  more); so are fewer users than the claim asks for;
- runs that are missing or learned nothing: not run.

Where several experiments make one comparison, the one over most backbones counts, of these one without lost runs, and
of these the one with most seeds.

Several together are what they agree on. Else, if any is reproduced: partly, unless the claim needs all and one is
opposite or not reproduced. Else not reproduced, if one is opposite or the claim needs all; else underpowered. What was
not run is passed over beside what was, but leaves nothing wholly reproduced; nor does a gain over a baseline that
recommends no better than the most popular items. Protocols that disagree on whether a claim holds at all make the whole
depend on the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from iadsr.config.claims import Between, Claim, Compared, Spared, Title, Verdict
from iadsr.core import columns as c
from iadsr.core.errors import ConfigError, suggest
from iadsr.evaluation.metrics import METRICS
from iadsr.formats.statistics import STATISTICS
from iadsr.statistics.compare import EQUAL, GAIN, LOSS, METHOD, MISSING, NONE, OK, UNDERPOWERED
from iadsr.statistics.crossed import LEVEL, MARGIN
from iadsr.statistics.summaries import SIDE

VERDICTS: tuple[str, ...] = get_args(Verdict)
REPRODUCED, PARTLY, NOT_REPRODUCED, OPPOSITE, DEPENDS, TOO_FEW, NOT_RUN = VERDICTS
LISTED = (REPRODUCED, PARTLY, DEPENDS, NOT_REPRODUCED, OPPOSITE, TOO_FEW, NOT_RUN)  # as a reader meets them
REFUTED = (NOT_REPRODUCED, OPPOSITE, DEPENDS)
OUTCOMES = (GAIN, LOSS, EQUAL, NONE, UNDERPOWERED)  # of what was run
COLUMNS = STATISTICS["verdicts"]
_TEXTS = ("claim", c.DATASET, c.PROTOCOL, "verdict", "against", "weak")
_COUNTS = ("same", "contrary", "judged", "lost")


def judge_claims(claims: Sequence[Claim], tables: Mapping[str, pd.DataFrame], sought: float) -> pd.DataFrame:
    """Judge every claim: one row per dataset and protocol, and one, with neither, for the whole.

    Columns: `against`, the baselines, the quantity or the method beside; `least` and `most`, the extremes of the
    relative gains (of the quantity's or difference's means); `low` and `high`, those of their 95 % intervals;
    `beside_least` and `beside_most`, the extremes for the method beside; `detectable`, the largest of the gains that
    would probably have been found; `sought`, a gain that is worth a claim; `excluded`, whether no interval of an
    undecided comparison holds it; `needed`, how many seeds would probably find it where one does (see `compare`);
    `users` and `seeds`, the fewest of a comparison; `same`, how many compare the very same runs; `contrary`, how many
    are significant the other way; `judged` and `lost`, how many comparisons or means decided and how many lack runs;
    `weak`, the backbones with which a baseline, in a metric that decides, is not above the most popular items.

    Args:
        tables: comparisons, cold_comparisons, metrics, sides, quantities and keep.
        sought: the relative gain of the column.

    Raises:
        ConfigError: a claim is about a metric that there is not.
    """
    rows: list[dict[str, Any]] = []
    for claim in claims:
        check_metrics(getattr(claim.judged, "metrics", []), f"claim '{claim.id}'")
        own = list(_judged(claim, tables, sought))
        lost = {name: sum(row[name] for row in own) for name in ("judged", "lost")}
        verdict = _capped(whole_verdict(own, _needs_all(claim)), lost["lost"])
        rows += [
            {"claim": claim.id, c.DATASET: "", c.PROTOCOL: "", "verdict": verdict, "against": "", "weak": "", **lost},
            *own,
        ]
    rows = [{"excluded": False, "same": 0, "contrary": 0, **row} for row in rows]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = (name for name in COLUMNS if name not in (*_TEXTS, *_COUNTS))
    kinds = {**dict.fromkeys(numbers, "float64"), **dict.fromkeys(_COUNTS, "int64"), "excluded": "bool"}
    return table.astype(kinds)


def check_metrics(names: Iterable[str], where: str) -> None:
    """Check that there are such metrics.

    Raises:
        ConfigError: there is not one; it names `where`.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"{where}: unknown metric '{name}'; {suggest(name, METRICS)}")


def list_by_verdict(claims: Sequence[Claim], verdicts: pd.DataFrame) -> list[dict[str, Any]]:
    """List the claims by their verdict on the whole, in the order of `LISTED`.

    Each row has `verdict` and `claims`: each one's `title`, and `elsewhere`, where the verdict is another one (dataset,
    empty if there is one alone, protocol and verdict).
    """
    own = verdicts[verdicts[c.PROTOCOL] != ""]
    own = own if own[c.DATASET].nunique() > 1 else own.assign(**{c.DATASET: ""})
    whole = verdicts.loc[verdicts[c.PROTOCOL] == ""].set_index("claim")["verdict"]
    rows: dict[str, list[dict[str, Any]]] = {verdict: [] for verdict in LISTED}
    for claim in claims:
        other = own[(own["claim"] == claim.id) & (own["verdict"] != whole[claim.id])]
        elsewhere = other[[c.DATASET, c.PROTOCOL, "verdict"]].to_dict("records")
        rows[whole[claim.id]].append({"title": claim.title, "elsewhere": elsewhere})
    return [{"verdict": verdict, "claims": listed} for verdict, listed in rows.items() if listed]


def choose_title(titles: Iterable[Title], verdicts: pd.DataFrame) -> str:
    """Choose the first title whose conditions hold; those on a protocol must in every dataset that is judged there."""
    found: dict[str, set[str]] = {}
    for claim, protocol, verdict in verdicts[["claim", c.PROTOCOL, "verdict"]].itertuples(index=False, name=None):
        found.setdefault(f"{claim}/{protocol}" if protocol else claim, set()).add(verdict)

    def holds(one: Title) -> bool:
        return all(found.get(name, {NOT_RUN}) <= {*among} for name, among in one.when.items())

    return next((one.title for one in titles if holds(one)), "Does the published gain hold?")


def combined(verdicts: Iterable[str], needs_all: bool = False) -> str:
    """Combine verdicts of one protocol; see the module's docstring."""
    known = {verdict for verdict in verdicts if verdict != NOT_RUN}
    if len(known) < 2:
        return next(iter(known), NOT_RUN)
    against = known & {OPPOSITE, NOT_REPRODUCED}
    if known & {REPRODUCED, PARTLY}:
        return NOT_REPRODUCED if needs_all and against else PARTLY
    return NOT_REPRODUCED if OPPOSITE in known or needs_all else TOO_FEW


def whole_verdict(rows: Sequence[Mapping[str, Any]], needs_all: bool = False) -> str:
    """Combine the verdicts of a claim's datasets and protocols."""
    protocols = dict.fromkeys(row[c.PROTOCOL] for row in rows)
    by_protocol = {combined((row["verdict"] for row in rows if row[c.PROTOCOL] == one), needs_all) for one in protocols}
    if by_protocol & {REPRODUCED, PARTLY} and by_protocol & {NOT_REPRODUCED, OPPOSITE}:
        return DEPENDS
    return combined(by_protocol, needs_all)


def _capped(verdict: str, *reasons: object) -> str:
    """Leave nothing wholly reproduced for which there is a reason: a part was lost, or what was beaten is weak."""
    return PARTLY if verdict == REPRODUCED and any(reasons) else verdict


def _needs_all(claim: Claim) -> bool:
    return isinstance(claim.judged, Spared) or (isinstance(claim.judged, Compared) and claim.judged.needs == "all")


def _judged(claim: Claim, tables: Mapping[str, pd.DataFrame], sought: float) -> Iterator[dict[str, Any]]:
    """Judge a claim in each dataset and protocol."""
    rule = claim.judged
    judge: Callable[[pd.DataFrame], dict[str, Any]]
    if isinstance(rule, Compared):
        chosen = _compared(rule, tables["cold_comparisons" if rule.group == c.COLD else "comparisons"])
        judge = partial(_judge_comparisons, rule, claim.published, sought, tables["metrics"])
    elif isinstance(rule, Between):
        means = tables["quantities"]
        chosen = _of_runs(rule.method, tables["sides"], means[means["quantity"] == rule.quantity])
        judge = partial(_judge_means, rule)
    else:
        gaps = tables["keep"]
        gaps = gaps[gaps["stage"].isin(rule.stages) & (gaps[c.GROUP] == c.COLD_GAP)]
        chosen = _of_runs(rule.method, tables["sides"], gaps)
        judge = partial(_judge_gaps, rule, gaps[gaps[c.METHOD] == rule.beside])
    chosen = chosen[chosen[c.EXPERIMENT].isin(rule.experiments)]
    place = [c.DATASET, c.PROTOCOL]
    order = pd.concat([tables[name][place] for name in ("comparisons", "sides")]).drop_duplicates()
    found = dict(list(chosen.groupby(place)))
    for dataset, protocol in order.itertuples(index=False, name=None):  # in that of the run file's own grid
        if (dataset, protocol) in found:
            yield {"claim": claim.id, c.DATASET: dataset, c.PROTOCOL: protocol, **judge(found[dataset, protocol])}


def _named(values: pd.Series, pattern: str) -> NDArray[np.bool_]:
    return np.array([fnmatchcase(value, pattern) for value in values], dtype=bool)


def _compared(rule: Compared, table: pd.DataFrame) -> pd.DataFrame:
    """Select the comparisons that decide: under the headline rule, each pair once, and each set of runs once."""
    table = table[table["headline"] & table[c.METRIC].isin(rule.metrics) & table[c.EXPERIMENT].isin(rule.experiments)]
    table = table[table["whole"] if rule.unit == "mean" else table["kind"] == METHOD]
    pairs = [_named(table[c.METHOD], one) & _named(table["baseline_method"], other) for one, other in rule.pairs]
    table = table[np.logical_or.reduce(pairs)]
    place = [c.DATASET, c.PROTOCOL, c.BACKBONE, c.METRIC, "baseline_method"]
    # so that a plan of more seeds decides nothing before all of it is done; of equals, the first experiment
    order = table.assign(made=table["seeds"] > 0, finished=table["status"] == OK)
    order = order.sort_values(["made", "backbones", "finished", "seeds"], ascending=False)
    pair = [name for name in (*place, c.METHOD) if name != c.BACKBONE or rule.unit == "each"]
    table = table.loc[order.drop_duplicates(pair).index].sort_index()
    twins = pd.MultiIndex.from_frame(table[[*place, "same_as"]])
    counted = twins.isin(pd.MultiIndex.from_frame(table[[*place, c.METHOD]]))
    table = table[~(counted & (table["same_as"] != table["baseline_method"]).to_numpy())]
    if rule.against == "best":
        # what lacks runs has its mean over fewer of them: it is chosen only where nothing is whole, and else is lost
        key = [c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD, c.METRIC]
        whole = table["baseline_mean"].where(table["status"] == OK)
        keys = [table[name] for name in key]
        best, best_of_all = (means.groupby(keys).transform("max") for means in (whole, table["baseline_mean"]))
        chosen = table["baseline_mean"] == best.fillna(best_of_all)
        table = table.assign(outcome=table["outcome"].where(chosen, MISSING))[chosen | (table["status"] != OK)]
    return table


def _judge_comparisons(
    rule: Compared, published: Sequence[float] | None, sought: float, metrics: pd.DataFrame, rows: pd.DataFrame
) -> dict[str, Any]:
    columns = ["outcome", "gain_low", "gain_high", "same_as", "baseline_method", "seeds", "users"]
    verdicts = [_verdict(rule, published, *row) for row in rows[columns].itertuples(index=False, name=None)]
    made = rows[[verdict != NOT_RUN for verdict in verdicts]]
    lost, counts = int((rows["status"] != OK).sum()), made[["needed", "users", "seeds"]].astype("float64")
    weak = ", ".join(_weak_backbones(made, metrics[metrics[c.GROUP] == rule.group]))
    beyond = made["gain_high"] < sought if rule.expected == GAIN else made["gain_low"] > -sought
    undecided = np.array([verdict == TOO_FEW for verdict in verdicts if verdict != NOT_RUN], dtype=bool)
    possible = undecided & ~beyond.to_numpy(bool)
    enough = bool((counts["users"] >= rule.least_users).all() and (counts["seeds"] > 1).all())
    return {
        "verdict": _capped(combined(verdicts, rule.needs == "all"), lost, rule.expected == GAIN and weak),
        "against": ", ".join(dict.fromkeys(made["baseline_method"])),
        **_extremes(made["gain"], made["gain_low"], made["gain_high"]),
        "detectable": made["detectable"].max(),
        "sought": sought,
        "needed": counts.loc[possible, "needed"].max(skipna=False) if enough else np.nan,
        "excluded": bool(enough and undecided.any() and not possible.any()),
        "same": int((made["same_as"] == made["baseline_method"]).sum()),
        "contrary": verdicts.count(OPPOSITE),
        "users": counts["users"].min(),
        "seeds": counts["seeds"].min(),
        "judged": len(made),
        "lost": lost,
        "weak": weak,
    }


def _weak_backbones(made: pd.DataFrame, metrics: pd.DataFrame) -> list[str]:
    """List the backbones with which a baseline of comparisons has no higher mean than the most popular items."""
    low = metrics[metrics["mean"] <= metrics["popular"]]
    place = [c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.RANKING, c.METRIC]
    compared = made[[*place, "baseline_method", c.BACKBONE]].rename(columns={c.BACKBONE: "of"})
    met = low.merge(compared, left_on=[*place, c.METHOD], right_on=[*place, "baseline_method"])
    return list(dict.fromkeys(met[met["of"].isin([c.ALL_BACKBONES]) | (met["of"] == met[c.BACKBONE])][c.BACKBONE]))


def _verdict(
    rule: Compared,
    published: Sequence[float] | None,
    outcome: str,
    low: float,
    high: float,
    same_as: str,
    baseline: str,
    seeds: int,
    users: int,
) -> str:
    """Judge one comparison by its outcome, its gain's interval, whose runs it has, and how many seeds and users."""
    if outcome in OUTCOMES and same_as != baseline and (seeds < 2 or users < rule.least_users):
        return TOO_FEW
    if outcome == rule.expected:
        return PARTLY if published and high < published[0] else REPRODUCED
    if outcome in (GAIN, LOSS):
        return OPPOSITE
    if outcome == EQUAL or same_as == baseline:
        return NOT_REPRODUCED
    if outcome not in OUTCOMES:
        return NOT_RUN
    most = high if rule.expected == GAIN else -low
    return NOT_REPRODUCED if most < (published[0] if published else MARGIN) else TOO_FEW


def _of_runs(method: str, sides: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Set means over a method's runs beside the runs that were expected: one row per side, 0 `seeds` if none has it."""
    own = sides.loc[_named(sides[c.METHOD], method), [*SIDE, c.EXPERIMENT, "seeds_done", "seeds_expected"]]
    found = own.merge(means[[*SIDE, c.EXPERIMENT, "mean", "sd", "seeds"]], on=[*SIDE, c.EXPERIMENT], how="left")
    found = found[found["seeds"].notna() | (found["seeds_done"] == 0)]  # else such a method has no such mean
    return found.fillna({"seeds": 0})


def _judge_means(rule: Between, rows: pd.DataFrame) -> dict[str, Any]:
    verdicts = [
        _by_seeds(seeds, REPRODUCED if rule.low <= mean <= rule.high else NOT_REPRODUCED)
        for mean, seeds in zip(rows["mean"], rows["seeds"], strict=True)
    ]
    return {"against": rule.quantity, **_extremes(rows["mean"]), **_counted(verdicts, rows)}


def _judge_gaps(rule: Spared, beside: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    """Judge each mean gap by its t interval over seeds: beside `-margin`, or across it. One seed has no interval."""
    half = stats.t.ppf((1 + LEVEL) / 2, rows["seeds"] - 1) * rows["sd"] / np.sqrt(rows["seeds"])
    low, high = rows["mean"] - half, rows["mean"] + half
    verdicts = [
        _by_seeds(seeds, REPRODUCED if least >= -rule.margin else OPPOSITE if most < -rule.margin else TOO_FEW)
        for least, most, seeds in zip(low, high, rows["seeds"], strict=True)
    ]
    place = [c.EXPERIMENT, c.DATASET, c.PROTOCOL]
    other = beside.merge(rows[place].drop_duplicates(), on=place)["mean"]
    extremes = {**_extremes(rows["mean"], low, high), "beside_least": other.min(), "beside_most": other.max()}
    return {"against": rule.beside or "", **extremes, **_counted(verdicts, rows, needs_all=True)}


def _by_seeds(seeds: float, verdict: str) -> str:
    """Keep a verdict that several seeds give."""
    return verdict if seeds > 1 else TOO_FEW if seeds else NOT_RUN


def _extremes(values: pd.Series, low: pd.Series | None = None, high: pd.Series | None = None) -> dict[str, float]:
    bounds = {"low": np.nan if low is None else low.min(), "high": np.nan if high is None else high.max()}
    return {"least": values.min(), "most": values.max(), **bounds}


def _counted(verdicts: Sequence[str], rows: pd.DataFrame, needs_all: bool = False) -> dict[str, Any]:
    """Combine the verdicts on means, and count those that decided and those that lack runs."""
    lost = int((rows["seeds_done"] < rows["seeds_expected"]).sum())
    judged = sum(verdict != NOT_RUN for verdict in verdicts)
    return {"verdict": _capped(combined(verdicts, needs_all), lost), "judged": judged, "lost": lost, "weak": ""}

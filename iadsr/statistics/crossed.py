"""The mean paired difference of two methods, when the same users are ranked in every run: estimate, interval, test.

A user's difference in one run is modelled as a mean, a part of the user's own, a part of the run's own and the rest:
users are crossed with seeds, and both are drawn at random. The variance of the mean over U users and S seeds is then
user / U + seed / S + rest / (S U). The users' means over seeds estimate the first and the last part together; the runs'
means estimate the second and the last, so the last is taken off there, and what is left counts if it is positive. The
degrees of freedom are Satterthwaite's (1946), the interval of the relative gain is Fieller's (1954): it excludes 0
exactly where that of the difference does. Resampling both users and seeds would count the rest about three times (Owen
2007).

Two or three seeds of a pair know the runs' part badly. So it is pooled, as in an analysis of variance, over methods
whose runs are taken to vary alike and independently (`pool_runs`). Runs of one seed share their first weights; in the
archive their means were not seen to go together. Without a pool the pair's own seeds must do; with one seed the
interval is then of users alone.

`forecast_crossed` puts another number of seeds into the same variance, the three parts as a pilot estimates them. More
seeds shrink the last two; user / U stays, however many there are. A pilot of few seeds knows the runs' part badly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

LEVEL = 0.95
POWER = 0.8  # with which `detectable` would be found
CAUTION = 0.9  # the level of the upper bound on how much seeds vary, in `Forecast.at_worst`
MOST = 1000  # seeds; nobody trains more
MARGIN = 0.1  # a relative gain within this much of zero is no difference worth speaking of
_ROUNDING = 1e-12  # averaging leaves rounding where differences cancel; real ones are far larger
_BISECTIONS = 60


@dataclass(frozen=True)
class Contrast:
    """What is known of a method's mean against its baseline's; each field has the shape of the metrics axis.

    Attributes:
        difference: method less baseline; `low`, `high` its interval.
        gain: the difference over the baseline's mean; `gain_low`, `gain_high` its interval. NaN where the baseline's
            mean may be zero.
        error: standard error of the difference.
        p: two-sided, of no difference.
        p_equal: of a gain outside of +-`MARGIN`: the larger of two one-sided tests.
        detectable: the relative gain that a test at 5 % finds with a probability of about `POWER`.
        effect: difference over the standard deviation of the users' differences in a single run (Cohen's dz).
        seed_sd: standard deviation of the difference over seeds; NaN with one.
    """

    difference: Floats
    low: Floats
    high: Floats
    gain: Floats
    gain_low: Floats
    gain_high: Floats
    error: Floats
    p: Floats
    p_equal: Floats
    detectable: Floats
    effect: Floats
    seed_sd: Floats


@dataclass(frozen=True)
class Forecast:
    """The relative gains that other numbers of seeds would find, as `Contrast.detectable`; NaN from a single seed.

    Attributes:
        detectable: (numbers of seeds, metrics), if seeds vary as they did.
        at_worst: the same, if seeds vary as much as the pilot allows: the upper end of a one-sided interval, `CAUTION`.
        floor: (metrics,), with any number of seeds.
    """

    detectable: Floats
    at_worst: Floats
    floor: Floats


@dataclass(frozen=True)
class RunSpread:
    """How far the means of runs lie apart that differ in their seed alone; fields of the shape of the metrics axis.

    Attributes:
        square: the variance of a run's mean over users.
        excess: what of it is the run's own, and not from each user's chance in each run; below zero by chance.
        p_even: p of a test that the methods vary alike: of the one that varies most against all others (F test), times
            the number of methods (Bonferroni). 1 where there is one method.
        freedom: degrees of freedom of `square`.
        methods: how many are pooled.
    """

    square: Floats
    excess: Floats
    p_even: Floats
    freedom: int
    methods: int

    def at(self, metric: int) -> RunSpread:
        """Return the spread of one metric, (1,) each."""
        return replace(self, **{name: getattr(self, name)[[metric]] for name in ("square", "excess", "p_even")})


Spreads = tuple[RunSpread, RunSpread]  # of a method's runs and of its baseline's


def pool_runs(methods: Iterable[Floats]) -> RunSpread:
    """Pool the variance of runs' means over methods, (metrics, seeds, users) each, of at least two seeds."""
    squares, rests, free = [], [], []
    for values in methods:
        _, seeds, users = values.shape
        between = values.mean(axis=2).var(axis=1) * seeds
        within = values.var(axis=1).sum(axis=1) * seeds  # the seeds' part and the rest, summed over users
        squares.append(between)
        rests.append((within - users * between) / max(users - 1, 1) / users)
        free.append(seeds - 1)
    own, freedom, total = np.stack(squares), np.array(free)[:, None], sum(free)
    square = own.sum(axis=0) / total
    return RunSpread(square, square - np.sum(rests, axis=0) / total, _p_even(own, freedom), total, len(free))


def _p_even(squares: Floats, freedom: NDArray[np.int64]) -> Floats:
    """Test that methods vary alike, from sums of squares (methods, metrics) and freedom (methods, 1)."""
    others, free = squares.sum(axis=0) - squares, freedom.sum() - freedom
    if len(squares) == 1:
        return np.ones(squares.shape[1])
    ratios = np.divide(squares * free, others * freedom, out=np.where(squares > 0, np.inf, 1.0), where=others > 0)
    tails = np.asarray(stats.f.sf(ratios, freedom, free), np.float64)
    p_even: Floats = np.minimum(1, len(squares) * tails.min(axis=0))
    return p_even


def compare_crossed(
    method: ArrayLike, baseline: ArrayLike, spreads: Spreads | None = None, level: float = LEVEL
) -> Contrast:
    """Compare two methods' metrics, (metrics, seeds, users) each: the same users, the same seeds.

    Args:
        spreads: of both sides' runs, pooled over more methods; None: from these runs alone.

    Raises:
        ValueError: the shapes differ or are empty, or a value is not finite.
    """
    method, baseline = _checked(method, baseline)
    model = _Crossed(method - baseline, baseline, spreads)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference, base = model.means
        error, freedom = model.error(np.zeros_like(base)), model.freedom
        reach = stats.t.ppf((1 + level) / 2, freedom) * error
        certain = np.where(difference == 0, 1.0, 0.0)  # where nothing varies
        p = np.where(error == 0, certain, 2 * stats.t.sf(np.abs(difference) / error, freedom))
        gain_low, gain_high = (model.bound(side, level) for side in (-1, 1))
        spread = np.sqrt((method - baseline).var(axis=2, ddof=1).mean(axis=1)) if method.shape[2] > 1 else base * np.nan
        by_seed = (method - baseline).mean(axis=2)
        return Contrast(
            difference=difference,
            low=snapped(difference - reach),
            high=snapped(difference + reach),
            gain=np.where(base != 0, difference / base, np.nan),
            gain_low=gain_low,
            gain_high=gain_high,
            error=error,
            p=p,
            p_equal=np.maximum(*(model.beyond(side * MARGIN, side) for side in (-1, 1))),
            detectable=_detectable(error, freedom, base),
            effect=np.where(spread > _ROUNDING, difference / spread, np.where(difference == 0, 0.0, np.nan)),
            seed_sd=by_seed.std(axis=1, ddof=1) if by_seed.shape[1] > 1 else np.full_like(base, np.nan),
        )


def forecast_crossed(
    method: ArrayLike, baseline: ArrayLike, seeds: Sequence[int], spreads: Spreads | None = None
) -> Forecast:
    """Forecast from pilot runs, (metrics, seeds, users) each, what gains a test with other numbers of seeds would find.

    The users are the pilot's. With the pilot's own number of seeds the forecast is `Contrast.detectable`.

    Raises:
        ValueError: as `compare_crossed`; or a number of seeds is below 2, whose test would know nothing of their part.
    """
    if any(number < 2 for number in seeds):
        raise ValueError(f"need numbers of seeds of at least 2, got {list(seeds)}")
    method, baseline = _checked(method, baseline)
    model = _Crossed(method - baseline, baseline, spreads)
    numbers = np.array([[*seeds, np.inf]]).T
    usual, worst = (model.detectable(numbers, factor) for factor in (1.0, model.caution))
    return Forecast(usual[:-1], worst[:-1], usual[-1])


def seeds_needed(
    method: ArrayLike, baseline: ArrayLike, gain: float, spreads: Spreads | None = None, *, at_worst: bool = False
) -> Floats:
    """Find how many seeds show a relative `gain`, usually or at worst (see `Forecast`), from two to `MOST`.

    Shape (metrics,); NaN where no such number does, or from a single seed.
    """
    method, baseline = _checked(method, baseline)
    model = _Crossed(method - baseline, baseline, spreads)
    factor = model.caution if at_worst else 1.0
    too_few, enough = np.ones_like(model.means[1]), np.full_like(model.means[1], MOST)
    found = model.detectable(enough, factor) <= gain
    while (enough - too_few > 1).any():  # more seeds always find more
        middle = np.floor((too_few + enough) / 2)
        finds = (middle > too_few) & (model.detectable(middle, factor) <= gain)
        too_few, enough = np.where(finds, too_few, middle), np.where(finds, middle, enough)
    return np.where(found, enough, np.nan)


def _checked(method: ArrayLike, baseline: ArrayLike) -> tuple[Floats, Floats]:
    method, baseline = np.asarray(method, np.float64), np.asarray(baseline, np.float64)
    if method.shape != baseline.shape or method.ndim != 3 or 0 in method.shape:
        raise ValueError(f"need equal shapes (metrics, seeds, users), got {method.shape} and {baseline.shape}")
    if not (np.isfinite(method).all() and np.isfinite(baseline).all()):
        raise ValueError("a metric is not finite")
    return method, baseline


class _Crossed:
    """Mean squares of differences and baselines, from which the error of difference - g x baseline follows for any g.

    Attributes:
        means: (2, metrics) of the differences and of the baseline.
    """

    def __init__(self, difference: Floats, baseline: Floats, spreads: Spreads | None = None) -> None:
        values = np.stack([difference, baseline])  # (2, metrics, seeds, users)
        self.seeds, self.users = values.shape[2:]
        self.means = snapped(values.mean(axis=(2, 3)))
        middle = values.mean(axis=(2, 3), keepdims=True)
        users = values.mean(axis=2, keepdims=True) - middle
        seeds = values.mean(axis=3, keepdims=True) - middle
        rest = values - users - seeds - middle
        free = max(self.users - 1, 1), max(self.seeds - 1, 1)
        # each (2, 2, metrics), as variances of a mean over users
        self.user_part = _products(users) / free[0] / self.users
        self.rest_part = _products(rest) / (free[0] * free[1]) / self.users
        if spreads is None:
            self.seed_square = _products(seeds) / free[1]
            self.seed_excess = self.seed_square - self.rest_part
            self.free_seeds, self.methods = self.seeds - 1, 1
        else:
            differs: NDArray[np.bool_] = np.any(difference, axis=(1, 2))  # else both sides are the very same runs
            one, other = spreads
            self.seed_square = _of_difference(one.square, other.square, differs)
            self.seed_excess = _of_difference(one.excess, other.excess, differs)
            self.free_seeds, self.methods = min((spread.freedom, spread.methods) for spread in spreads)

        self.freedom = self._spread(np.zeros_like(self.means[1]))[1]  # of the difference; the gain's tests keep them

    def error(self, gain: Floats) -> Floats:
        """Return the standard error of difference - gain x baseline, for each metric."""
        return self._spread(gain)[0]

    def _spread(self, gain: Floats) -> tuple[Floats, Floats]:
        users, square, excess = (
            part[0, 0] - 2 * gain * part[0, 1] + gain**2 * part[1, 1]
            for part in (self.user_part, self.seed_square, self.seed_excess)
        )
        if self.users == 1:
            return np.full_like(gain, np.nan), np.full_like(gain, np.nan)
        seeds = np.maximum(excess, 0) / self.seeds, square / self.seeds
        return _satterthwaite(np.maximum(users, 0), self.users - 1, *seeds, self.free_seeds)

    def error_with(self, seeds: Floats, factor: float) -> tuple[Floats, Floats]:
        """Return standard error and degrees of freedom of the difference, (numbers of seeds, metrics), of other seeds.

        Args:
            seeds: how many, (numbers of seeds, 1), or one number for each metric, (metrics,); may be infinite.
            factor: how many times as large the variance of the runs' means is taken to be.
        """
        users, square, excess, rest = (
            part[0, 0] for part in (self.user_part, self.seed_square, self.seed_excess, self.rest_part)
        )
        shape = np.broadcast_shapes(seeds.shape, users.shape)
        if self.users == 1 or self.seeds == 1:
            return np.full(shape, np.nan), np.full(shape, np.nan)
        shrinking = np.minimum(rest, self.seeds * users)  # so that no variance over users is left below zero,
        users = np.maximum(users + shrinking * (1 / seeds - 1 / self.seeds), 0)  # nor by rounding
        more = np.maximum(excess + (factor - 1) * square, 0) / seeds
        free = self.methods * (seeds - 1)
        return _satterthwaite(users, self.users - 1, more, factor * square / seeds, free)

    @property
    def caution(self) -> float:
        """How many times as large the variance of the runs' means may be; see `Forecast.at_worst`."""
        free = self.free_seeds
        return float(free / stats.chi2.ppf(1 - CAUTION, free)) if free else float("nan")

    def detectable(self, seeds: Floats, factor: float) -> Floats:
        """Return the relative gain that other seeds would find; arguments and shape as in `error_with`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _detectable(*self.error_with(seeds, factor), self.means[1])

    def bound(self, side: int, level: float) -> Floats:
        """Return the lower (-1) or upper (1) end of the gain's interval; NaN where there is none."""
        difference, base = self.means
        quantile = stats.t.ppf((1 + level) / 2, self.freedom)

        def inside(gain: Floats) -> NDArray[np.bool_]:
            close: NDArray[np.bool_] = np.abs(difference - gain * base) <= quantile * self.error(gain)
            return close

        within = np.where(base > 0, difference / base, np.nan)
        width = np.ones_like(base)
        while width[0] < 2**20 and inside(within + side * width).any():
            width *= 2
        outside = within + side * width
        bounded = ~inside(outside) & np.isfinite(within)
        for _ in range(_BISECTIONS):
            middle = (within + outside) / 2
            taken = inside(middle)
            within, outside = np.where(taken, middle, within), np.where(taken, outside, middle)
        return np.where(bounded, snapped(within), np.nan)

    def beyond(self, gain: float, side: int) -> Floats:
        """Return the p value of a one-sided test against a gain of at least `gain` (side 1) or at most (-1)."""
        difference, base = self.means
        error = self.error(np.full_like(base, gain))
        distance = side * (gain * base - difference)
        return np.where(error > 0, stats.t.sf(distance / error, self.freedom), np.where(distance > 0, 0.0, 1.0))


def _satterthwaite(
    users: Floats, free_users: int, excess: Floats, square: Floats, free_seeds: Floats | int
) -> tuple[Floats, Floats]:
    """Return the root of the sum of two variances, users and excess, and its degrees of freedom.

    What makes the excess uncertain is the whole `square` that it is a difference from. With the excess in its place, or
    nothing where that was cut at zero, few seeds find too much.
    """
    variance = users + excess
    known = np.asarray(free_seeds) > 0
    by_seed = np.divide(square**2, free_seeds, out=np.zeros_like(variance), where=known)
    spread = users**2 / free_users + by_seed
    freedom = np.divide(variance**2, spread, out=np.full_like(variance, free_users), where=spread > 0)
    least = np.where(known, np.minimum(free_seeds, free_users), free_users)
    error = np.sqrt(variance)
    return np.where(error < _ROUNDING, 0.0, error), np.maximum(freedom, least)


def _of_difference(method: Floats, baseline: Floats, differs: NDArray[np.bool_]) -> Floats:
    """Return second moments of (difference, baseline), (2, 2, metrics), of sides that are independent or the same."""
    own, both = np.where(differs, method + baseline, 0), np.where(differs, -baseline, 0)
    return np.stack([np.stack([own, both]), np.stack([both, baseline])])


def _detectable(error: Floats, freedom: Floats, base: Floats) -> Floats:
    """Return the gain g that is found with `POWER`, NaN where `base` is not positive.

    It is g0 x sqrt(1 + g / 2), g0 that of the error: a hit's variance grows with its rate, half of it the method's.
    """
    power = stats.t.ppf((1 + LEVEL) / 2, freedom) + stats.t.ppf(POWER, freedom)
    square = np.where(base > 0, power * error / base, np.nan) ** 2
    gain: Floats = square / 4 + np.sqrt(square**2 / 16 + square)
    return gain


def _products(values: Floats) -> Floats:
    """Return sums of products over seeds and users, (2, 2, metrics), of values (2, metrics, seeds, users)."""
    products: Floats = np.einsum("imsu,jmsu->ijm", values, values)
    return products


def snapped(values: Floats) -> Floats:
    """Set to zero the values that only rounding keeps from it."""
    return np.where(np.abs(values) < _ROUNDING, 0.0, values)


def holm(p_values: ArrayLike) -> Floats:
    """Return Holm's step-down adjusted p values (Holm 1979), in the order given. Shape of `p_values` (tests,).

    NaN (a test that could not be made) stays NaN and does not count in the family.
    """
    p = np.asarray(p_values, np.float64)
    adjusted = np.full_like(p, np.nan)
    tests = np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    weights = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(weights * p[order]))
    return adjusted

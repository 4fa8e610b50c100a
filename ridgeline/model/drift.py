"""Whether rows are distributed like the training rows, and predicted like them.

For a column, two counts by bin or category p and q are compared by their shares, by the population
stability index

    PSI = Σ (qᵢ - pᵢ) ln(qᵢ / pᵢ).

By convention, above 0.1 a distribution has moved and above 0.25 it has moved a lot. By chance alone
it is about χ² with k - 1 degrees of freedom times 1/n + 1/m, for k bins and n and m rows: a few
rows give large values, so a column counts as moved only beyond what chance explains. Of two normal
distributions with equal variances the index is the squared distance of their means in standard
deviations, so means are compared by the same limit.

References
----------
B. Yurdakul, J. Naranjo (2020). Statistical Properties of the Population Stability Index. The
Journal of Risk Model Validation 14(4), 89-100.
S. Wilks (1942). Statistical Prediction with Special Reference to the Problem of Tolerance Limits.
The Annals of Mathematical Statistics 13(4), 400-409 (values outside the range of others).
"""

from collections.abc import Iterator, Mapping, Sequence
from math import exp, sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy.special import chdtri, gammaln
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from ridgeline.model import profile
from ridgeline.model.profile import Counts, Observed, Spread

MOVED = 0.1
OUTSIDE = 0.01  # the share of values outside the training range up to which there is no warning
FALSE_ALARMS = 0.001  # the chance that one of all columns counts as moved if none has


class Change(NamedTuple):
    """How a column differs from the training rows.

    `psi` is the population stability index, and `threshold` the one above which the column has
    moved. `outside` is the share of values outside the range of the training rows, None for a
    categorical column; `strays` is whether it is above `OUTSIDE` and more than chance explains.
    `unknown` is the share of categories that are not in the training rows, None for a numeric one.
    """

    column: str
    psi: float
    threshold: float
    outside: float | None = None
    strays: bool = False
    unknown: float | None = None

    @property
    def moved(self) -> bool:
        """Whether the change is more than chance explains."""
        return self.psi > self.threshold


class Shift(NamedTuple):
    """The mean prediction, and that of the training rows, in the target's unit.

    `distance` is the difference, and `threshold` its size above which the mean has moved, in
    standard deviations of the predictions for the training rows.
    """

    mean: float
    training_mean: float
    distance: float
    threshold: float

    @property
    def moved(self) -> bool:
        """Whether the difference is more than chance explains."""
        return abs(self.distance) > self.threshold


class Drift(NamedTuple):
    """How rows and their mean prediction differ from the training rows.

    There are no columns and no mean if there are no rows, or if the model is of an earlier version
    that kept no profile.
    """

    columns: Sequence[Change]
    prediction: Shift | None


def compare(
    model: Pipeline, observed: Observed, outside: Mapping[str, int], predictions: Spread
) -> Drift:
    """Compare rows with the training rows.

    Parameters
    ----------
    model : Pipeline
        Its steps are ``preprocessor`` and a regressor.
    observed, outside : dict of str
        As for `columns`.
    predictions : Spread
        Of the rows' predictions.
    """
    changes = columns(model["preprocessor"], observed, outside)
    return Drift(changes, shift(profile.predictions(model), predictions))


def columns(
    preprocessor: ColumnTransformer, observed: Observed, outside: Mapping[str, int]
) -> list[Change]:
    """Compare rows with the training rows, column by column; the largest index is first.

    Parameters
    ----------
    preprocessor : ColumnTransformer
        See `profile.keep`.
    observed, outside : dict of str
        The counts of all rows; see `profile.observe` and `profile.outside`.
    """
    has_rows = any(counts.any() for counts in observed.values())
    kept = getattr(preprocessor, profile.PROFILE, {}) if has_rows else {}
    found = []
    for name, training in kept.items():
        counts = observed[name]
        expected, seen = training["counts"], np.add.reduceat(counts, training["begins"])
        share: dict[str, Any]
        if "min" in training:
            n, m = int(expected[:-1].sum()), int(seen[:-1].sum())
            k = outside.get(name, 0)
            strays = k > OUTSIDE * m and chance_outside(n, m, k) < FALSE_ALARMS / len(kept)
            share = {"outside": k / max(m, 1), "strays": strays}
        else:
            share = {"unknown": int(counts[-2]) / max(int(counts.sum()), 1)}
        limit = threshold(expected, seen, len(kept))
        found.append(Change(name, population_stability(expected, seen), limit, **share))
    return sorted(found, key=lambda change: -change.psi)


def shift(training: Spread, predictions: Spread) -> Shift | None:
    """Compare the mean prediction with that of the training rows; None if either has no rows."""
    if not (training.rows and predictions.rows):
        return None
    deviation = sqrt(training.squares / training.rows)
    difference = predictions.mean - training.mean
    # equal predictions differ by rounding only
    varies = deviation > 1e-9 * abs(training.mean)
    return Shift(
        predictions.mean,
        training.mean,
        difference / deviation if varies else 0.0,
        sqrt(_limit(2, training.rows, predictions.rows, FALSE_ALARMS)),
    )


def warnings(found: Drift) -> Iterator[str]:
    """Yield a warning for each change that is more than chance explains."""
    for change in found.columns:
        if change.moved:
            yield (
                f"column {change.column} is distributed otherwise than in the training rows: "
                f"population stability index {change.psi:.2f}, above {change.threshold:.2f}; check "
                "the data, or train anew"
            )
        if change.strays:
            yield (
                f"column {change.column} has values outside the range of the training rows in "
                f"{change.outside:.1%} of the rows; check the data, or train anew"
            )
    if found.prediction and found.prediction.moved:
        yield (
            f"the mean prediction has moved: {mean(found.prediction)}, by more than "
            f"{found.prediction.threshold:.2f}; check the data, or train anew"
        )


def mean(prediction: Shift) -> str:
    """Return the mean prediction, that of the training rows, and their distance, as text."""
    return (
        f"{prediction.mean:.5g} (training rows: {prediction.training_mean:.5g}; difference: "
        f"{prediction.distance:+.2f} standard deviations)"
    )


def table(found: Drift, most: int) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a header and up to `most` rows of text: the columns that changed most."""
    header = ("column", "PSI", "moved above", "outside range", "unknown category")
    rows = [
        (
            change.column,
            f"{change.psi:.2f}",
            f"{change.threshold:.2f}",
            *(
                "–" if share is None else f"{share:.1%}"
                for share in (change.outside, change.unknown)
            ),
        )
        for change in found.columns[:most]
    ]
    return header, rows


def metrics(found: Drift) -> dict[str, Any]:
    """Return for a metrics file the index and the shares by column, and the mean prediction."""
    shares = {
        "psi": {change.column: change.psi for change in found.columns},
        "outside": {c.column: c.outside for c in found.columns if c.outside is not None},
        "unknown": {c.column: c.unknown for c in found.columns if c.unknown is not None},
    }
    if found.prediction is not None:
        kept = found.prediction._asdict()
        del kept["threshold"]
        shares["prediction"] = kept
    return {name: values for name, values in shares.items() if values}


def population_stability(expected: Counts, observed: Counts) -> float:
    """Return the population stability index of two counts, each of shape (k,).

    Half a row is added to each count, because the index is infinite for an empty bin.
    """
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (expected, observed))
    return float(((q - p) * np.log(q / p)).sum())


def threshold(expected: Counts, observed: Counts, columns: int) -> float:
    """Return the index above which a column counts as moved, given how many columns there are."""
    rows = int(expected.sum()), int(observed.sum())
    return _limit(len(expected), *rows, FALSE_ALARMS / columns)


def chance_outside(n: int, m: int, k: int) -> float:
    """Return the probability that k or more of m values are outside the range of n others.

    All have the same continuous distribution; if values can be equal, it is smaller. The n values
    divide the m ones into n + 1 groups, whose sizes are exchangeable: the first and the last
    together are as large as the last two. These have k values if at most one of the k + 1 largest
    of all values is one of the n.
    """
    if not n:
        return 1.0
    ways = np.logaddexp(_choose(m, k + 1), np.log(n) + _choose(m, k))
    return exp(min(ways - _choose(n + m, k + 1), 0.0))  # a probability, but for rounding


def _choose(a: int, b: int) -> float:
    """Return the logarithm of the binomial coefficient, minus infinity if b is above a."""
    return float(gammaln(a + 1) - gammaln(b + 1) - gammaln(a - b + 1))


def _limit(bins: int, n: int, m: int, chance: float) -> float:
    quantile = chdtri(max(bins - 1, 1), chance)  # of χ²
    return max(MOVED, float(quantile) * (1 / max(n, 1) + 1 / max(m, 1)))

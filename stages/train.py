"""Fit ridge regression on the training rows, with the penalty chosen by leave-one-out error."""

from functools import partial
from math import log10

import joblib
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from ridgeline import files
from ridgeline.config import Settings
from ridgeline.errors import warn
from ridgeline.model import charts, intervals, ridge, scoring
from ridgeline.model.moments import Array
from ridgeline.tables import engine, progress, reading
from stages import run


def main(settings: Settings) -> None:
    """Write the model (a pipeline that takes raw columns), its metrics and plots."""
    target, alphas = settings.data.target, settings.train.alphas
    preprocessor = joblib.load(files.PREPROCESSOR)
    names = tuple(preprocessor.get_feature_names_out())
    tables = {
        split: reading.open_table(files.FEATURES / split, (target, *names))
        for split in ("train", "validation")
    }
    passes = (tables["train"], tables["train"], *tables.values())

    with progress.bar("train", lambda: sum(table.size for table in passes)) as done:
        over = engine.over(partial(reading.arrays, names, target), done)
        fit = ridge.fit([*tables["train"].parts()], alphas, over)
        rmse = np.sqrt(fit.errors)  # NaN where rounding dominates
        sums, residuals = {}, intervals.NONE
        for split, table in tables.items():
            sums[split] = scoring.NONE
            score_part = partial(score, fit, split == "train")
            for scores, counts in over(score_part, table.parts()):
                sums[split] = scoring.add(sums[split], scores)
                residuals = intervals.add(residuals, counts)

    for warning in ridge.warnings(alphas, fit):
        warn(warning)
    pipeline = Pipeline([("preprocessor", preprocessor), ("ridge", fit.model)])
    files.write_model(files.MODEL, pipeline)
    files.write_json(files.INTERVALS, {"half_width": intervals.half_widths(residuals)})
    files.write_json(
        files.METRICS / "train.json",
        {
            "alpha": fit.model.alpha_,
            "leave_one_out": {"rmse": float(np.sqrt(-fit.model.best_score_))},
            **{split: scoring.metrics(total) for split, total in sums.items()},
            "baseline": {
                "prediction": fit.target_mean,
                **{split: scoring.baseline_metrics(total) for split, total in sums.items()},
            },
        },
    )
    errors = pd.DataFrame({"alpha": alphas, "log10_alpha": [*map(log10, alphas)], "rmse": rmse})
    files.write_csv(files.PLOTS / "error_by_alpha.csv", errors)
    figure = charts.error_by_alpha(alphas, rmse, fit.model.alpha_)
    files.write_figure(files.PLOTS / "error_by_alpha.png", figure)
    coefficients = pd.DataFrame({"feature": names, "coefficient": fit.model.coef_})
    files.write_csv(files.PLOTS / "coefficients.csv", coefficients)
    figure = charts.coefficients(names, fit.model.coef_)
    files.write_figure(files.PLOTS / "coefficients.png", figure)


def score(
    fit: ridge.Fit, fitted: bool, part: tuple[Array, Array]
) -> tuple[Array, intervals.Counts]:
    """Return sums of a part's errors; if it was `fitted`, counts of its leave-one-out residuals."""
    X, y = part
    errors = scoring.sums(y, fit.model.predict(X), fit.target_mean)
    return errors, intervals.counts(fit.residuals(part)) if fitted else intervals.NONE


if __name__ == "__main__":
    run("train", main)

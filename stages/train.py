"""Fit the model on the training rows, and measure its errors on those and the validation rows."""

from collections.abc import Sequence
from functools import partial
from math import log10, sqrt

import joblib
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from ridgeline import files
from ridgeline.config import Settings
from ridgeline.errors import warn
from ridgeline.model import charts, intervals, profile, regressors, ridge, scoring
from ridgeline.model.moments import Array
from ridgeline.tables import engine, progress, reading
from stages import run


def main(settings: Settings) -> None:
    """Write the model (a pipeline that takes raw columns), its metrics and plots."""
    target, trained = settings.data.target, settings.train
    estimator = regressors.regressor(trained.model, trained.params)
    preprocessor = joblib.load(files.PREPROCESSOR)
    names = tuple(preprocessor.get_feature_names_out())
    tables = {
        split: reading.open_table(files.FEATURES / split, (target, *names))
        for split in ("train", "validation")
    }
    passes = (tables["train"], tables["train"], *tables.values())

    with progress.bar("train", lambda: sum(table.size for table in passes)) as done:
        over = engine.over(partial(reading.arrays, names, target), done)
        shape = tables["train"].size, len(names)
        fit = regressors.fit(estimator, trained.alphas, [*tables["train"].parts()], shape, over)
        sums, predictions, residuals = {}, {}, intervals.NONE
        for split, table in tables.items():
            sums[split], predictions[split] = scoring.NONE, profile.NO_SPREAD
            for scores, counts, spread in over(
                partial(regressors.score, fit, split), table.parts()
            ):
                sums[split] = scoring.add(sums[split], scores)
                residuals = intervals.add(residuals, counts)
                predictions[split] = profile.add_spread(predictions[split], spread)

    for warning in fit.warnings:
        warn(warning)
    pipeline = Pipeline([("preprocessor", preprocessor), ("regressor", fit.model)])
    profile.keep_predictions(pipeline, predictions["train"])
    files.write_model(files.MODEL, pipeline)
    method = intervals.SPLIT_CONFORMAL if fit.residuals is None else intervals.JACKKNIFE
    widths = intervals.half_widths(residuals)
    files.write_json(files.INTERVALS, {"method": method, "half_width": widths})
    files.write_json(
        files.METRICS / "train.json",
        {
            "model": trained.model,
            **({"alpha": fit.model.alpha_} if fit.alphas else {}),
            **({} if fit.error is None else {"leave_one_out": {"rmse": sqrt(fit.error)}}),
            **{split: scoring.metrics(total) for split, total in sums.items()},
            "baseline": {
                "prediction": fit.target_mean,
                **{split: scoring.baseline_metrics(total) for split, total in sums.items()},
            },
        },
    )
    rows = reading.arrays(names, target, next(tables["validation"].parts()))
    plot(fit, names, *regressors.effects(fit.model, *rows))


def plot(fit: ridge.Fit, names: Sequence[str], kind: str, effects: Array) -> None:
    """Write plot data and figures of the penalties' errors and of the features' effects."""
    alphas, rmse = fit.alphas, np.sqrt(fit.errors)  # NaN where rounding dominates
    errors = pd.DataFrame({"alpha": alphas, "log10_alpha": [*map(log10, alphas)], "rmse": rmse})
    files.write_csv(files.PLOTS / "error_by_alpha.csv", errors)
    figure = charts.error_by_alpha(alphas, rmse, getattr(fit.model, "alpha_", np.nan))
    files.write_figure(files.PLOTS / "error_by_alpha.png", figure)
    files.write_csv(files.EFFECTS, pd.DataFrame({"feature": names, "effect": effects}))
    files.write_figure(files.EFFECTS.with_suffix(".png"), charts.effects(names, effects, kind))


if __name__ == "__main__":
    run("train", main)

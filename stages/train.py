"""Fit ridge regression to the training rows, its penalty chosen by leave-one-out validation."""

from functools import partial, reduce
from math import isnan, log10
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline

from ridgeline import charts, dataset, engine, progress, ridge, scoring
from ridgeline.config import Settings
from ridgeline.errors import warn
from ridgeline.files import write_csv, write_json, write_model
from ridgeline.ridge import Array
from stages import run

FEATURES, PLOTS = Path("data/features"), Path("plots")


def main(settings: Settings) -> None:
    """Write the model, which takes raw columns, its metrics, and plots of what was learnt."""
    target, alphas = settings.data.target, settings.train.alpha_values
    preprocessor = joblib.load("models/preprocessor.joblib")
    names = tuple(preprocessor.get_feature_names_out())
    tables = {
        split: dataset.open_table(FEATURES / split, (target, *names))
        for split in ("train", "validation")
    }
    total = (tables["train"], tables["train"], *tables.values())

    with progress.bar("train", lambda: sum(table.size for table in total)) as done:
        over = engine.over(partial(dataset.arrays, names, target), done)
        fit = ridge.fit([*tables["train"].parts()], alphas, over)
        rmse = np.sqrt(fit.errors)  # NaN where rounding would decide it
        score_part = partial(score, fit.model, fit.target_mean)
        sums = {
            split: reduce(scoring.add, over(score_part, table.parts()), scoring.NONE)
            for split, table in tables.items()
        }

    left_out = [f"{alpha:g}" for alpha, error in zip(alphas, rmse, strict=True) if isnan(error)]
    if left_out:
        warn(
            f"{', '.join(left_out)} of train.alphas left out: too small for these training rows, "
            "rounding would decide their leave-one-out errors; remove them, or raise them"
        )
    end = ridge.open_end(alphas, fit)
    if end:
        further = {"smallest": "smaller", "largest": "larger"}[end]
        warn(
            f"{fit.model.alpha_:g} is the {end} of train.alphas: the best may lie beyond; add "
            f"{further} ones"
        )

    pipeline = Pipeline([("preprocessor", preprocessor), ("ridge", fit.model)])
    write_model(Path("models/model.joblib"), pipeline)
    write_json(
        Path("metrics/train.json"),
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
    write_csv(
        PLOTS / "error_by_alpha.csv",
        pd.DataFrame({"alpha": alphas, "log10_alpha": [log10(a) for a in alphas], "rmse": rmse}),
    )
    charts.save(charts.error_by_alpha(alphas, rmse, fit.model.alpha_), PLOTS / "error_by_alpha.png")
    write_csv(
        PLOTS / "coefficients.csv",
        pd.DataFrame({"feature": names, "coefficient": fit.model.coef_}),
    )
    charts.save(charts.coefficients(names, fit.model.coef_), PLOTS / "coefficients.png")


def score(model: RidgeCV, baseline: float, part: tuple[Array, Array]) -> Array:
    """Sum up how far a part's rows are from what is predicted; see `scoring.sums`."""
    X, y = part
    return scoring.sums(y, model.predict(X), baseline)


if __name__ == "__main__":
    run("train", main)

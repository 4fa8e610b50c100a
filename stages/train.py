"""Fit ridge regression to the training rows, its penalty chosen by leave-one-out validation."""

from math import log10
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from ridgeline import charts, dataset, ridge, scoring
from ridgeline.config import Settings
from ridgeline.files import write_csv, write_json, write_model
from stages import run

FEATURES, PLOTS = Path("data/features"), Path("plots")


def main(settings: Settings) -> None:
    """Write the model, which takes raw columns, its metrics, and plots of what was learnt."""
    target, alphas = settings.data.target, settings.train.alpha_values
    preprocessor = joblib.load("models/preprocessor.joblib")
    names = tuple(preprocessor.get_feature_names_out())
    rows = {
        split: dataset.Arrays(dataset.open_table(FEATURES / split, (target, *names)), names, target)
        for split in ("train", "validation")
    }

    fit = ridge.fit(rows["train"], alphas)
    rmse = np.sqrt(fit.errors)
    sums = {
        split: scoring.total(((y, fit.model.predict(X)) for X, y in parts), fit.target_mean)
        for split, parts in rows.items()
    }

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


if __name__ == "__main__":
    run("train", main)

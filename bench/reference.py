"""Fit scikit-learn's RidgeCV in memory to the features that the stage train read.

In a project where train has run, ``python -m bench.reference`` prints the seconds of
``RidgeCV.fit`` alone, those of the stage's own fit, which reads its rows from disk twice, and how
far the two models are apart.
"""

import json
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge, RidgeCV
from threadpoolctl import threadpool_limits

from ridgeline import config, dataset, engine, ridge

if __name__ == "__main__":
    settings = config.load()
    preprocessor, fitted = joblib.load("models/model.joblib")
    names = preprocessor.get_feature_names_out()
    frame = pd.read_parquet(Path("data/features/train"), columns=[*names, settings.data.target])
    y = frame.pop(settings.data.target).to_numpy()
    X = frame.to_numpy()
    started = time.perf_counter()
    model = RidgeCV(settings.train.alpha_values).fit(X, y)
    seconds = time.perf_counter() - started
    parts = [*dataset.open_table("data/features/train", (settings.data.target, *names)).parts()]
    over = engine.over(partial(dataset.arrays, tuple(names), settings.data.target))
    with threadpool_limits(1, "blas"):  # as in a stage
        started = time.perf_counter()
        ridge.fit(parts, settings.train.alpha_values, over)
        fit_seconds = time.perf_counter() - started
    exact = Ridge(model.alpha_, solver="svd").fit(X, y)

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a - b).max())

    print(
        json.dumps(
            {
                "seconds": seconds,
                "fit_seconds": fit_seconds,
                "rows": len(y),
                "alpha": model.alpha_,
                "same_alpha": model.alpha_ == fitted.alpha_,
                "apart": apart(model.coef_, fitted.coef_),
                "apart_svd": apart(exact.coef_, fitted.coef_),
                "sklearn_apart": apart(exact.coef_, model.coef_),
            }
        )
    )

"""Fit scikit-learn's RidgeCV in memory to the features that the stage train read.

In a project where train has run, ``python -m bench.reference`` prints the seconds of
``RidgeCV.fit`` alone, those of the stage's own fit, which reads its rows from disk twice, and how
far the models are apart: for scikit-learn's default, which goes by the covariance matrix and
loses half of the digits, and for its decomposition of X itself, which keeps them.
"""

import json
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

from ridgeline import config
from ridgeline.model import ridge
from ridgeline.tables import engine, reading

if __name__ == "__main__":
    settings = config.load()
    preprocessor, fitted = joblib.load("models/model.joblib")
    names = preprocessor.get_feature_names_out()
    frame = pd.read_parquet(Path("data/features/train"), columns=[*names, settings.data.target])
    y = frame.pop(settings.data.target).to_numpy()
    X = frame.to_numpy()
    seconds, apart = {}, {}
    for mode in ("auto", "svd"):
        started = time.perf_counter()
        model = RidgeCV(settings.train.alphas, gcv_mode=mode).fit(X, y)
        seconds[mode] = time.perf_counter() - started
        apart[mode] = float(np.abs(model.coef_ - fitted.coef_).max())
    parts = [*reading.open_table("data/features/train", (settings.data.target, *names)).parts()]
    over = engine.over(partial(reading.arrays, tuple(names), settings.data.target))
    with threadpool_limits(1, "blas"):  # as in a stage
        started = time.perf_counter()
        ridge.fit(parts, settings.train.alphas, over)
        fit_seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "seconds": seconds,
                "fit_seconds": fit_seconds,
                "rows": len(y),
                "alpha": model.alpha_,
                "same_alpha": model.alpha_ == fitted.alpha_,
                "apart": apart,
            }
        )
    )

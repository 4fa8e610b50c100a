"""Predict a table with the registered model, and report how close the predictions are."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from ridgeline import charts, dataset, features, registry, scoring, tracking
from ridgeline.config import Data, Settings
from ridgeline.contract import Contract, checked
from ridgeline.errors import TrackingError
from ridgeline.files import replacing, write_csv, write_json
from stages import run

PLOTS = Path("plots")
PLOTTED_ROWS = 500  # the first ones; more would be a blot


def main(settings: Settings) -> None:
    """Write a prediction for each row of ``predict.input``, test metrics, plots and figures."""
    registered = json.loads(Path("models/registered.json").read_text(encoding="utf-8"))
    baseline = json.loads(Path("metrics/train.json").read_text(encoding="utf-8"))["baseline"]
    client = tracking.connect()
    version = registry.find(client, registered["model"], registered["md5"])
    if version is None:
        raise TrackingError(
            f"MLflow has no version of {registered['model']} with md5 {registered['md5']}; "
            "register it again with 'dvc repro -f -s register'"
        )
    model = registry.load_model(version)

    rows, sums, plotted = 0, scoring.NONE, pd.DataFrame()
    with (
        replacing(Path(settings.predict.output)) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        for part in _predictions(model, settings.predict.input, settings.data):
            part.to_csv(file, index=False, header=file.tell() == 0, lineterminator="\n")
            if "actual" in part:
                known = part.dropna()
                actual, predicted = known["actual"].to_numpy(), known["prediction"].to_numpy()
                scored = int(sums[:, 0].sum())
                sums = sums + scoring.sums(actual, predicted, baseline["prediction"], scored)
            plotted = pd.concat([plotted, part[: PLOTTED_ROWS - len(plotted)]])
            rows += len(part)

    write_json(Path("metrics/test.json"), _metrics(rows, sums))
    _plot(plotted, settings.data)


def _predictions(model: Pipeline, source: str, data: Data) -> Iterator[pd.DataFrame]:
    """Yield key and prediction, with actual value and residual where the input has the target."""
    preprocessor = model["preprocessor"]
    table = dataset.open_table(source, (data.key, data.target, *data.features))
    labelled = any(data.target in dataset.column_names(file) for file in table.files)
    numeric = (*data.numeric, data.target) if labelled else data.numeric
    unknown: Counter[tuple[str, str]] = Counter()
    incomplete = 0

    for frame in checked(table, Contract(data.key, None, data.categorical, numeric)):
        unknown += features.unknown_categories(preprocessor, frame)
        usable = frame[list(data.features)]
        if not features.imputes(preprocessor):
            usable = usable.dropna()
            incomplete += len(frame) - len(usable)
        predicted = pd.Series(model.predict(usable) if len(usable) else [], usable.index, float)
        result = pd.DataFrame({data.key: frame[data.key], "prediction": predicted})
        if labelled:
            result["actual"] = frame[data.target]
            result["residual"] = result["actual"] - result["prediction"]
        yield result

    for (column, value), count in sorted(unknown.items()):
        _warn(f"{column} {value!r} was not among the training rows; it is ignored (rows: {count})")
    if incomplete:
        _warn(
            f"rows with a missing value, without a prediction: {incomplete}; to fill such values "
            "from the training rows, set prepare.missing to impute in params.yaml"
        )


def _metrics(rows: int, sums: scoring.Array) -> dict[str, Any]:
    """Test metrics with 95 % bootstrap intervals; without actual values only the count of rows."""
    scored = int(sums[:, 0].sum())
    counts = {"rows": {"predicted": rows, "scored": scored}}
    if not scored:
        return counts
    test: dict[str, float | None] = {}
    bounds = scoring.intervals(sums)
    for name, value in scoring.metrics(sums).items():
        lower, upper = bounds[name]
        test |= {name: value, f"{name}_lower": lower, f"{name}_upper": upper}
    return counts | {"test": test, "baseline": {"test": scoring.baseline_metrics(sums)}}


def _plot(rows: pd.DataFrame, data: Data) -> None:
    """Write plot data and figures of the first rows; without actual values only the predictions."""
    predicted = rows["prediction"].to_numpy()
    actual = rows["actual"].to_numpy() if "actual" in rows else None
    shown = rows.reindex(columns=[data.key, "prediction", "actual", "residual"])
    write_csv(PLOTS / "actual_vs_predicted.csv", shown[[data.key, "actual", "prediction"]])
    write_csv(PLOTS / "residuals.csv", shown[[data.key, "prediction", "residual"]])
    figure = charts.lines_by_row(list(rows[data.key]), predicted, actual, data.key, data.target)
    charts.save(figure, PLOTS / "predicted_and_actual.png")
    figure = charts.predicted_against_actual(predicted, actual, data.target)
    charts.save(figure, PLOTS / "predicted_against_actual.png")


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


if __name__ == "__main__":
    run("predict", main)

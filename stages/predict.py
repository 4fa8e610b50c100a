"""Predict a table with the registered model, and report how close the predictions are."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from mlflow import MlflowClient
from sklearn.pipeline import Pipeline

from ridgeline import (
    charts,
    contract,
    dataset,
    engine,
    features,
    keys,
    progress,
    registry,
    scoring,
    tracking,
)
from ridgeline.config import Data, Settings
from ridgeline.errors import ModelError, TrackingError, warn
from ridgeline.files import scratch, write_csv, write_json
from stages import run

PLOTS = Path("plots")
PLOTTED_ROWS = 500  # the first ones; more would be a blot
SEED = 0  # for the hashes that find a repeated key; no split depends on them

Writing = Callable[[Path, int], AbstractContextManager[Callable[[pa.Table], None]]]


class Predicted(NamedTuple):
    """What is known of some predicted rows: nothing that grows with their number.

    `sums` are those of `scoring.sums`; `plotted` the first rows; `unknown` tells by column of
    categories that the training rows lack, `incomplete` counts rows without a prediction.
    """

    rows: int
    sums: scoring.Array
    plotted: pa.Table
    unknown: dict[str, features.Unknown]
    incomplete: int
    breaches: list[contract.Breaches]


def main(settings: Settings) -> None:
    """Write a prediction for each row of ``predict.input``, test metrics, plots and figures."""
    registered = json.loads(Path("models/registered.json").read_text(encoding="utf-8"))
    baseline = json.loads(Path("metrics/train.json").read_text(encoding="utf-8"))["baseline"]
    client = tracking.connect()
    model = _load(client, registered["model"], registered["md5"], settings)

    data, output = settings.data, Path(settings.predict.output)
    source, columns = settings.predict.input, (data.key, data.target, *data.features)
    table = dataset.open_table(
        source, columns, (*data.numeric, data.target), missing_values=data.missing_values
    )
    labelled = any(data.target in dataset.column_names(file) for file in table.files)
    numeric = (*data.numeric, data.target) if labelled else data.numeric
    wanted = contract.Contract(data.key, None, data.categorical, numeric)
    findings, total = contract.Findings(wanted, table), NONE
    writing, writing_part = WRITERS[output.suffix]

    with (
        writing(output) as folder,
        scratch(output.with_name("keys")) as hashes,
        progress.bar("predict", lambda: table.size) as done,
    ):

        def add(part: dataset.Part, found: Predicted) -> None:
            findings.add(part, found.breaches, found.rows)
            done(part, rows=found.rows)

        target = data.target if labelled else None
        work = partial(
            predict, model, wanted, target, baseline["prediction"], writing_part, folder, hashes
        )
        for found in engine.mapped(work, table.parts(), add):
            total = _added(total, found._replace(breaches=[]))  # they are among the findings
        findings.add_repeated_keys(hashes, SEED, engine.mapped)
        findings.tell()

    for column, unknown in total.unknown.items():
        warn(f"{column} {unknown} not among the training rows; ignored (rows: {unknown.rows})")
    if total.incomplete:
        warn(
            f"rows with a missing value, without a prediction: {total.incomplete}; to fill such "
            "values from the training rows, set prepare.missing to impute in params.yaml"
        )
    write_json(Path("metrics/test.json"), _metrics(total.rows, total.sums))
    _plot(total.plotted.to_pandas(), data)


def predict(
    model: Pipeline,
    wanted: contract.Contract,
    target: str | None,
    baseline: float,
    writing_part: Writing,
    folder: Path,
    hashes: Path,
    part: dataset.Part,
) -> Predicted:
    """Write a part's key and prediction, with actual value and residual where there is a target."""
    total, spilled = NONE, []
    with writing_part(folder, part.number) as write:
        for checked in contract.check(part, wanted):
            spilled.append(keys.hashes(checked.keys, SEED))
            if checked.table is None:
                found = NONE._replace(rows=checked.rows, breaches=[checked.breaches])
            else:
                rows, found = _predicted(model, checked.table, wanted.key, target)
                write(rows)
                if target is not None:
                    both = dataset.numbers(rows, ("actual", "prediction"))
                    actual, predicted = both[:, ~np.isnan(both).any(axis=0)]
                    found = found._replace(sums=scoring.sums(actual, predicted, baseline))
            total = _added(total, found)
    keys.spill(hashes, part.number, np.concatenate(spilled))
    return total


def _predicted(
    model: Pipeline, table: pa.Table, key: str, target: str | None
) -> tuple[pa.Table, Predicted]:
    """Predict some rows."""
    preprocessor = model["preprocessor"]
    unknown = features.unknown_categories(preprocessor, table)
    predicted = np.full(len(table), np.nan)
    usable = np.ones(len(table), bool)
    if not features.imputes(preprocessor):
        for name in preprocessor.feature_names_in_:
            usable &= table[name].is_valid().to_numpy()
    if usable.any():
        X = features.matrix(preprocessor, table if usable.all() else table.filter(usable)).T
        predicted[usable] = model[-1].predict(X)
    rows = {key: table[key], "prediction": pa.array(predicted, from_pandas=True)}
    if target is not None:
        rows["actual"] = table[target]
        rows["residual"] = pc.subtract(rows["actual"], rows["prediction"])
    written = pa.table(rows)
    incomplete = len(table) - int(usable.sum())
    first = written.take(np.arange(min(len(written), PLOTTED_ROWS)))  # a slice would keep it all
    return written, Predicted(len(table), scoring.NONE, first, unknown, incomplete, [])


NONE = Predicted(0, scoring.NONE, pa.table({}), {}, 0, [])
WRITERS = {
    ".csv": (dataset.writing_csv, dataset.writing_csv_part),
    "": (dataset.writing, dataset.writing_part),
}


def _added(a: Predicted, b: Predicted) -> Predicted:
    """Put what is known of some rows, and of those that follow, together."""
    plotted, room = a.plotted, PLOTTED_ROWS - len(a.plotted)
    if room:
        plotted = pa.concat_tables([plotted, b.plotted[:room]], promote_options="default")
    unknown = a.unknown | {
        name: a.unknown[name] + found if name in a.unknown else found
        for name, found in b.unknown.items()
    }
    return Predicted(
        a.rows + b.rows,
        scoring.add(a.sums, b.sums),
        plotted,
        unknown,
        a.incomplete + b.incomplete,
        [*a.breaches, *b.breaches],
    )


def _load(client: MlflowClient, name: str, md5: str, settings: Settings) -> Pipeline:
    """Load the candidate, which is the version with this md5, or the one that has the alias."""
    wanted = settings.predict.model
    if wanted == "candidate":
        version = registry.find(client, name, md5)
        lacks = f"with md5 {md5}; register it again with 'dvc repro -f -s register'"
    else:
        version = registry.with_alias(client, name, wanted)
        lacks = f"with the alias {wanted}; give it to one, or change predict.model in params.yaml"
    if version is None:
        raise TrackingError(f"MLflow has no version of {name} {lacks}")
    model = registry.load_model(client, version)
    data, what = settings.data, f"{name} version {registry.number(version)}"
    if "preprocessor" not in getattr(model, "named_steps", {}):
        raise ModelError(f"{what} was not made by this pipeline; change predict.model")
    gone = features.lacking(model["preprocessor"], data.numeric, data.categorical)
    if gone:
        raise ModelError(
            f"{what} needs column {gone[0]}, which data in params.yaml does not name, or names as "
            "another kind; name it as it was, or change predict.model"
        )
    return model


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


if __name__ == "__main__":
    run("predict", main)

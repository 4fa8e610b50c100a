"""Predict a table with the registered model, and write metrics and plots of the predictions."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ridgeline import files
from ridgeline.config import Settings
from ridgeline.errors import warn
from ridgeline.intake import contract, unique
from ridgeline.intake.findings import Findings
from ridgeline.model import charts, predict, scoring
from ridgeline.tables import engine, progress, reading, writing
from ridgeline.tracking import skops_format
from stages import run

SEED = 0  # of the hashes that find repeated keys; no split depends on it
Outcome = tuple[predict.Predicted, list[contract.Breaches]]  # of one part


def main(settings: Settings) -> None:
    """Write the predictions for ``predict.input``, test metrics, plot data and figures."""
    registered = json.loads(files.REGISTERED.read_text(encoding="utf-8"))
    trained = json.loads((files.METRICS / "train.json").read_text(encoding="utf-8"))
    data, chosen, output = settings.data, settings.predict, Path(settings.predict.output)
    model, width = skops_format.load_selected(registered, chosen, data)
    columns, numbers = (data.key_column, data.target, *data.features), (*data.numeric, data.target)
    table = reading.open_table(
        chosen.input,
        columns,
        numbers,
        missing_values=data.missing_values,
        numbering=None if data.key else engine.mapped,
    )
    has_target = any(data.target in reading.column_names(file) for file in table.files)
    target, numeric = (data.target, (data.target,)) if has_target else (None, ())
    expected = contract.Contract(data.key_column, None, data.categorical, (*data.numeric, *numeric))
    findings, total = Findings(expected, table), predict.NONE

    with (
        writing.predictions(output) as folder,
        files.scratch(output.with_name("keys")) as hashes,
        progress.bar("predict", lambda: table.size) as done,
    ):

        def report(part: reading.Part, outcome: Outcome) -> None:
            nonlocal total
            total = predict.add(total, outcome[0])
            findings.add(part, outcome[1], outcome[0].rows)
            done(part, rows=outcome[0].rows)

        how = (data.key_column, target, trained["baseline"]["prediction"], width)
        predict_rows = partial(predict.predict_rows, model, *how)
        work = partial(write_predictions, predict_rows, expected, output, folder, hashes)
        engine.for_each(work, table.parts(), report)
        findings.add_repeated_keys(hashes, SEED, engine.mapped)
        findings.raise_if_any()

    for warning in predict.warnings(total):
        warn(warning)
    tested = scoring.report(total.rows, total.sums, total.covered)
    files.write_json(files.METRICS / "test.json", tested)
    files.write_json(files.SUMMARY, scoring.summary(trained, tested))
    plot(total.plotted.to_pandas(), data.key_column, data.target)


def write_predictions(
    predict_rows: Callable[[pa.Table], tuple[pa.Table, predict.Predicted]],
    wanted: contract.Contract,
    output: Path,
    folder: Path,
    hashes: Path,
    part: reading.Part,
) -> Outcome:
    """Write a part's predictions to a part in `folder`, and its keys' hashes to `hashes`."""
    total, breaches, key_hashes = predict.NONE, [], []
    with writing.predictions_part(output, folder, part.number) as write:
        for checked in contract.check(part, wanted):
            key_hashes.append(unique.hashes(checked.keys, SEED))
            predicted = predict.NONE._replace(rows=checked.rows)
            if checked.table is None:
                breaches.append(checked.breaches)
            else:
                rows, predicted = predict_rows(checked.table)
                write(rows)
            total = predict.add(total, predicted)
    unique.spill(hashes, part.number, np.concatenate(key_hashes))
    return total, breaches


def plot(rows: pd.DataFrame, key: str, target: str) -> None:
    """Write plot data and figures of the first rows; actual values may be missing."""
    predicted = rows[["lower", "prediction", "upper"]].to_numpy(float).T
    actual = rows["actual"].to_numpy() if "actual" in rows else None
    shown = rows.reindex(columns=[key, "prediction", "actual", "residual"])
    files.write_csv(files.PLOTS / "actual_vs_predicted.csv", shown[[key, "actual", "prediction"]])
    files.write_csv(files.PLOTS / "residuals.csv", shown[[key, "prediction", "residual"]])
    figure = charts.lines_by_row(list(rows[key]), predicted[1], actual, key, target, predicted[::2])
    files.write_figure(files.PLOTS / "predicted_and_actual.png", figure)
    figure = charts.predicted_against_actual(predicted[1], actual, target)
    files.write_figure(files.PLOTS / "predicted_against_actual.png", figure)


if __name__ == "__main__":
    run("predict", main)

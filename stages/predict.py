"""Predict a table with the registered model; write metrics, plots and a report of that."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ridgeline import files
from ridgeline.config import Settings
from ridgeline.errors import warn
from ridgeline.intake import contract, unique
from ridgeline.intake.findings import Findings
from ridgeline.model import charts, drift, predict, report, scoring
from ridgeline.tables import engine, progress, reading, writing
from ridgeline.tracking import skops_format
from stages import run

SEED = 0  # of the hashes that find repeated keys; no split depends on it
Outcome = tuple[predict.Predicted, list[contract.Breaches]]  # of one part


def main(settings: Settings) -> None:
    """Write the predictions for ``predict.input``, test metrics, plot data, figures, a report."""
    registered = files.read_json(files.REGISTERED)
    prepared = files.read_json(files.METRICS / "prepare.json")
    trained = files.read_json(files.METRICS / "train.json")
    data, chosen, output = settings.data, settings.predict, Path(settings.predict.output)
    model, md5, width = skops_format.load_selected(registered, chosen, data)
    columns, numbers = (data.key_column, data.target, *data.features), (*data.numeric, data.target)
    table = reading.open_table(
        chosen.input,
        columns,
        numbers,
        missing_values=data.missing_values,
        csv_options=data.csv,
        numbering=None if data.key else engine.mapped,
    )
    has_target = any(data.target in reading.column_names(file, data.csv) for file in table.files)
    target, numeric = (data.target, (data.target,)) if has_target else (None, ())
    expected = contract.Contract(data.key_column, None, data.categorical, (*data.numeric, *numeric))
    findings, total = Findings(expected, table), predict.NONE

    with (
        writing.predictions(output) as folder,
        files.scratch(output.with_name("keys")) as hashes,
        progress.bar("predict", lambda: table.size) as done,
    ):

        def add(part: reading.Part, outcome: Outcome) -> None:
            nonlocal total
            total = predict.add(total, outcome[0])
            findings.add(part, outcome[1], outcome[0].rows)
            done(part, rows=outcome[0].rows)

        how = (data.key_column, target, trained["baseline"]["prediction"], width)
        predict_rows = partial(predict.predict_rows, model, *how)
        work = partial(write_predictions, predict_rows, expected, output, folder, hashes)
        engine.for_each(work, table.parts(), add)
        findings.add_repeated_keys(hashes, SEED, engine.mapped)
        findings.raise_if_any()

    found = drift.compare(model, total.observed, total.outside, total.predictions)
    for warning in (*predict.warnings(total), *drift.warnings(found)):
        warn(warning)
    tested = scoring.report(total.rows, total.sums, total.covered)
    tested["drift"] = drift.metrics(found)
    files.write_json(files.METRICS / "test.json", tested)
    files.write_json(files.SUMMARY, scoring.summary(trained, tested))
    rows = total.plotted.to_pandas()
    shown = rows.reindex(columns=[data.key_column, "actual", "prediction", "residual"])
    files.write_csv(files.PLOTS / "actual_vs_predicted.csv", shown.drop(columns="residual"))
    files.write_csv(files.PLOTS / "residuals.csv", shown.drop(columns="actual"))
    for name, figure in charts.predictions(rows, data.key_column, data.target, found).items():
        files.write_figure(files.PLOTS / f"{name}.png", figure)
    effects = pd.read_csv(files.EFFECTS, keep_default_na=False)
    training = report.Training(trained, effects, files.read_json(files.INTERVALS)["method"])
    facts = report.Facts(
        model, md5, data.target, data.path, prepared, chosen.input, files.table_md5(chosen.input),
        total, tested, chosen.level, width, found, training if md5 == registered["md5"] else None,
    )  # fmt: skip
    files.write_text(files.REPORT, report.markdown(facts))


def write_predictions(
    predict_rows: Callable[[pa.Table], tuple[pa.Table, predict.Predicted]],
    wanted: contract.Contract,
    output: Path,
    folder: Path,
    hashes: Path,
    part: reading.Part,
) -> Outcome:
    """Write a part's predictions to a part in `folder`, and its keys' hashes to `hashes`."""
    total, breaches = predict.NONE, []
    with writing.predictions_part(output, folder, part.number) as write:
        for number, checked in enumerate(contract.check(part, wanted)):
            predicted = predict.NONE._replace(rows=checked.rows)
            if checked.table is None:
                breaches.append(checked.breaches)
            else:
                rows, predicted = predict_rows(checked.table)
                write(rows)
            unique.spill(hashes, f"{part.number}-{number}", unique.hashes(checked.keys, SEED))
            total = predict.add(total, predicted)
    return total, breaches


if __name__ == "__main__":
    run("predict", main)

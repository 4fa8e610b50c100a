"""Predict a table with a registered version, outside the pipeline."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from sklearn.pipeline import Pipeline

from ridgeline.config import ROW, Data, Settings
from ridgeline.errors import DataError, SettingsError, TrackingError, warn
from ridgeline.files import naming
from ridgeline.intake import reasons
from ridgeline.intake.contract import Contract
from ridgeline.model import charts, drift, features, intervals, predict
from ridgeline.sections import Section, text
from ridgeline.tables import engine, progress, reading, writing
from ridgeline.tracking import models, runs, skops_format, store
from ridgeline.tracking.records import HALF_WIDTHS
from ridgeline.tracking.registry import number, version_named

NOT_FINITE = "the prediction is not finite"
MOST_COLUMNS = 10  # of the summary


class Scored(NamedTuple):
    """A summary of predicted rows, and how many have no prediction for which reason."""

    predicted: predict.Predicted
    reasons: Counter[str]


NONE = Scored(predict.NONE, Counter())


def run(
    named: str,
    source: str,
    output: Path,
    level: float,
    settings: Settings,
    *,
    fail_on_drift: bool = False,
) -> Iterator[str]:
    """Predict a table with a registered version and log a run of it; yield a summary's lines.

    Parameters
    ----------
    named : str
        The version, see `version_named`.
    source : str
        The table; see `reading.open_table`.
    output : Path
        A .csv file, or a folder for Parquet in parts.
    level : float
        The level of the prediction intervals.
    settings : Settings
        The project's model, its experiment, and how its tables are written.
    fail_on_drift : bool
        Whether rows that differ from the training rows are an error, see `drift.warnings`.

    Raises
    ------
    RidgelineError
        If there is no such version, it can't be loaded, or the table can't be predicted.
    """
    if level not in intervals.LEVELS:
        raise SettingsError(f"--level is {level}; it should be one of 0.01, 0.02, up to 0.99")
    registry, version = version_named(store.connect(), named, settings.register.model)
    what = f"{registry.name} version {number(version)}"
    model = skops_format.load(models.download(registry, version), what)
    width = json.loads(version.tags.get(HALF_WIDTHS, "{}")).get(str(level))
    total = predict_table(model, width, source, output, settings.data)
    predicted, missing = total.predicted, total.reasons.total()
    yield f"{predicted.rows - missing:,} of {predicted.rows:,} rows predicted by {what}: {output}"
    for reason, rows in total.reasons.most_common():
        yield f"no prediction, because {reason}: {counted(rows)}"
    for column, unknown in predicted.unknown.items():
        count = counted(unknown.rows)
        yield f"categories of {column} that are not in the training rows: {unknown} ({count})"
    if width is None:
        yield f"no intervals: the version has no width for level {level}"
    found = drift.compare(model, predicted.observed, predicted.outside, predicted.predictions)
    yield from summary(found)
    counts = {"read": predicted.rows, "predicted": predicted.rows - missing}
    metrics = {"rows": counts, "drift": drift.metrics(found)}
    params = {"table": source, "level": level}
    experiment, figure = settings.mlflow.experiment, charts.drift(found)
    try:
        runs.log_predictions(registry.client, experiment, version, params, metrics, figure)
    except TrackingError as error:
        warn(f"{output} is complete, but its run is not logged: {error}")
    warnings = [*drift.warnings(found)]
    for warning in warnings:
        warn(warning)
    if fail_on_drift and missing == predicted.rows:
        raise DataError(f"no row was predicted; {output} is complete")
    if fail_on_drift and warnings:
        raise DataError(f"the rows differ from the training rows, as shown; {output} is complete")


def counted(rows: int) -> str:
    """Return a number of rows as text.

    Examples
    --------
    >>> counted(1), counted(1200)
    ('1 row', '1,200 rows')
    """
    return f"{rows:,} row{'s' if rows != 1 else ''}"


def summary(found: drift.Drift) -> Iterator[str]:
    """Yield the lines of a table of the columns that changed most; none without a profile."""
    if found.columns:
        header, rows = drift.table(found, MOST_COLUMNS)
        sentences = [f"Mean prediction {drift.mean(found.prediction)}."] if found.prediction else []
        if len(found.columns) > len(rows):
            sentences.append(f"The {len(rows)} largest of {len(found.columns)} columns:")
        yield ""
        yield from text(Section("Change from the training rows", (*sentences,), header, (*rows,)))


def predict_table(
    model: Pipeline, half_width: float | None, source: str, output: Path, data: Data
) -> Scored:
    """Write for each row of a table its prediction and interval, or why there is none.

    Parameters
    ----------
    model : Pipeline
        Its steps are ``preprocessor`` and a regressor.
    half_width : float or None
        Half the width of its prediction intervals, in the target's unit; None if it is unknown.
    source : str
        The table. A row is named by its key, or by its number if the table has no such column.
    output : Path
        Appears when it is complete.
    data : Data
        The name of the key, and how CSV files are written.

    Raises
    ------
    DataError
        If the table can't be read or has not all columns, `output` would replace other files, or
        another process is writing it.
    """
    preprocessor = model["preprocessor"]
    kinds = features.columns(preprocessor)
    numeric, categorical = (kinds.get(k, ()) for k in (features.NUMERIC, features.CATEGORICAL))
    files = reading.open_table(source, ()).files
    _check_output(output, source, files, data.path)
    columns = {file: {*reading.column_names(file, data.csv)} for file in files}
    known = set.intersection(*columns.values())
    key = data.key if data.key in known - {*numeric, *categorical} else ROW
    if key == ROW and ROW in (*numeric, *categorical):
        raise DataError(f"{source} has no key to name its rows by; add the column {data.key!r}")
    table = reading.open_table(
        source,
        (key, *numeric, *categorical),
        numeric,
        missing_values=data.missing_values,
        csv_options=data.csv,
        numbering=engine.mapped if key == ROW else None,
    )
    for file, names in columns.items():
        if absent := [repr(name) for name in (*numeric, *categorical) if name not in names]:
            next(table.parts())  # reports another delimiter or encoding
            what = f"columns {', '.join(absent)}" if absent[1:] else f"column {absent[0]}"
            raise DataError(f"{file} has no {what}, which the model needs; add what is missing")
    wanted = Contract(key, None, categorical, numeric)
    required = () if features.imputes(preprocessor) else (*numeric, *categorical)
    work = partial(predict_part, model, half_width, wanted, required, output)
    total = NONE
    with (
        locked(output),
        writing.predictions(output) as folder,
        progress.bar("predict", lambda: table.size) as done,
    ):

        def finish(part: reading.Part, scored: Scored) -> None:
            nonlocal total
            total = add(total, scored)
            done(part, rows=scored.predicted.rows)

        engine.for_each(partial(work, folder), table.parts(), finish)
    return total


def predict_part(
    model: Pipeline,
    half_width: float | None,
    wanted: Contract,
    required: tuple[str, ...],
    output: Path,
    folder: Path,
    part: reading.Part,
) -> Scored:
    """Write a part's predictions to the part of the same number in `folder`."""
    total = NONE
    with writing.predictions_part(output, folder, part.number) as write:
        for table in part.tables():
            accepted = reasons.accept(table, wanted, part.decimal, required)
            refused = accepted.reasons >= 0
            rows, predicted = predict.predict_rows(
                model, wanted.key, None, 0.0, half_width, accepted.table, refused
            )
            texts = np.array([*accepted.texts, None], object)[accepted.reasons]
            texts[~refused & rows["prediction"].is_null().to_numpy()] = NOT_FINITE
            write(rows.append_column("reason", pa.array(texts, pa.string())))
            total = add(total, Scored(predicted, Counter(filter(None, texts))))
    return total


def add(a: Scored, b: Scored) -> Scored:
    """Combine the summaries of some rows and of the rows that follow them."""
    return Scored(predict.add(a.predicted, b.predicted), a.reasons + b.reasons)


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Refuse to write `output` while another process does, whose partial files would be removed.

    Raises
    ------
    DataError
        If another process holds the lock.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    place = output.with_name(f".{output.name}.lock")
    lock = FileLock(place, timeout=0)
    try:
        with naming(output, place):
            lock.acquire()
    except Timeout:
        what = f"another process is writing {output}"
        raise DataError(f"{what}; wait until it has ended, or name another output") from None
    try:
        yield
    finally:
        place.unlink(missing_ok=True)  # still locked: a process that has opened it tries again
        lock.release()


def _check_output(output: Path, source: str, files: Sequence[str], project: str) -> None:
    """Refuse an output that would replace something other than predictions, or join a table.

    `project` is the project's table, `data.path`.
    """
    if output.suffix not in (".csv", "") or output.as_posix().startswith("s3:"):
        raise DataError(f"{output} should be a .csv file, or a folder for Parquet, on this machine")
    whole, inputs = output.resolve(), [Path(file).resolve() for file in files]
    if any(whole == file or whole in file.parents for file in inputs):
        raise DataError(f"{output} would replace the table; name another output")
    folders = {file.parent for file in inputs}  # a later run would read the output as well
    joins = inputs != [Path(source).resolve()] and whole.parent in folders
    if joins or whole.parent == Path(project).resolve():
        raise DataError(f"{output} is beside a table's files; name an output elsewhere")
    replaceable = not output.suffix if output.is_dir() else _has_predictions(output)
    if output.exists() and not replaceable:
        raise DataError(f"{output} exists, and is no output of predict; name another output")
    for file in sorted(output.iterdir()) if output.is_dir() else ():
        if not (file.suffix == ".parquet" and _has_predictions(file)):
            raise DataError(f"{output} has other files, such as {file.name}; name a new folder")


def _has_predictions(file: Path) -> bool:
    """Return whether a file has the columns of predictions."""
    try:
        return {"prediction", "reason"} <= {*reading.column_names(file)}
    except DataError:  # no table at all
        return False

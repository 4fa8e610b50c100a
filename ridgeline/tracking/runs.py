"""MLflow runs, written from what DVC tracks of a stage: its params, metrics and outputs.

Nothing else goes into a run, so it can be written when the stage ends, or later from the files.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ridgeline.files import REGISTERED, REPORT, read_json
from ridgeline.tracking import address, models, origin, records
from ridgeline.tracking.registry import Registry, number
from ridgeline.tracking.skops_format import MODEL, Export, exported
from ridgeline.tracking.store import connect, experiment_id, speaking_of_mlflow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARTIFACTS = (".json", ".csv", ".png", ".md")
DAY = 24 * 3600 * 1000  # milliseconds
BATCH = 100  # params that MLflow takes in one call; it takes more metrics


def open_ahead() -> None:
    """Open the embedded store, if there is one, before `log_stage` is called."""
    uri = address.tracking_uri()
    if uri.startswith(address.SQLITE) and address.database(uri).exists():
        connect()


def log_stage(
    stage: records.Stage, experiment: str, exports: dict[Path, Export], started: float
) -> None:
    """Write the run of a stage that has just written its outputs.

    Parameters
    ----------
    stage : Stage
        The stage, as `records.load` returns it.
    experiment : str
        The MLflow experiment, created if missing.
    exports : dict of Path to Export
        Its models.
    started : float
        When the stage began, in seconds since the epoch.

    Raises
    ------
    TrackingError
        When MLflow can't be reached or refuses.
    """
    record = records.recorded(stage)
    client = connect()
    close_killed(client, experiment)
    write_run(client, experiment, record, origin.tags(), exports=exports, started=started)


def log_missing(
    client: mlflow.MlflowClient,
    experiment: str,
    record: records.Record,
    origin_tags: dict[str, str],
    folder: Path = Path(),
) -> bool:
    """Write a stage's run unless MLflow has a finished one; return whether it was written.

    It is missing if MLflow was down or another server when the stage ran, or if DVC restored the
    outputs from its cache, so that nothing ran. The parameters are those of `write_run`.
    """
    wanted = f"tags.`{records.DIGEST}` = '{record.digest}' AND attributes.status = 'FINISHED'"
    with speaking_of_mlflow():
        if client.search_runs([experiment_id(client, experiment)], wanted, max_results=1):
            return False
    write_run(client, experiment, record, origin_tags, folder)
    return True


def write_run(
    client: mlflow.MlflowClient,
    experiment: str,
    record: records.Record,
    origin_tags: dict[str, str],
    folder: Path = Path(),
    exports: dict[Path, Export] | None = None,
    started: float | None = None,
) -> None:
    """Write a run from a stage's record and the files that it names.

    Parameters
    ----------
    client : MlflowClient
        As returned by `store.connect`.
    experiment : str
        The MLflow experiment, created if missing.
    record : Record
        The stage as it ran.
    origin_tags : dict of str
        The commit and experiment it comes from, as returned by `origin.tags`.
    folder : Path
        Where the stage's metrics, plots, tables and models are.
    exports : dict of Path to Export, optional
        The stage's models; by default read from `folder`.
    started : float, optional
        When the stage began, in seconds since the epoch; by default now.

    Raises
    ------
    TrackingError
        When MLflow can't be reached or refuses.
    """
    if exports is None:
        exports = exported(record.outs, folder)
    with speaking_of_mlflow():
        now = int(time.time() * 1000)
        run = client.create_run(
            experiment_id(client, experiment),
            start_time=now if started is None else int(started * 1000),
            run_name=run_name(record.name, origin_tags),
            tags=stage_tags(record, origin_tags),
        )
        run_id: str = run.info.run_id
        with _failing(client, run_id):
            _write(client, run_id, record, folder, exports, now)
            if REPORT in record.outs:
                _describe_version(client, folder)
            client.set_tag(run_id, records.DIGEST, record.digest)  # last: it marks a complete run
        client.set_terminated(run_id)


def log_predictions(
    client: mlflow.MlflowClient,
    experiment: str,
    version: ModelVersion,
    params: dict[str, Any],
    metrics: dict[str, Any],
    drift: "Figure",
) -> None:
    """Write a run of what a version predicted outside the pipeline.

    Parameters
    ----------
    client, experiment
        As for `write_run`.
    version : ModelVersion
        The version; the run is tagged with the md5 of its model.
    params, metrics : dict
        What was predicted, besides the version, and what was found; metrics may be nested.
    drift : Figure
        Logged as ``drift.png``.
    """
    tags = origin.tags() | {"mlflow.source.name": "ridgeline predict"}
    if records.MD5 in version.tags:
        tags[records.MD5] = version.tags[records.MD5]
    with speaking_of_mlflow():
        model = f"models:/{version.name}/{number(version)}"
        name = f"predict · version {number(version)}"
        run = client.create_run(experiment_id(client, experiment), tags=tags, run_name=name)
        run_id, now = run.info.run_id, run.info.start_time
        measured = [
            Metric(records.key(key), float(value), now, 0)
            for key, value in records.flat(metrics).items()
        ]
        with _failing(client, run_id):
            _log_batches(client, run_id, measured, {"model": model} | params)
            client.log_figure(run_id, drift, "drift.png")
        client.set_terminated(run_id)


@contextmanager
def _failing(client: mlflow.MlflowClient, run_id: str) -> Iterator[None]:
    """Mark the run as failed if the block raises."""
    try:
        yield
    except BaseException:
        with suppress(MlflowException):  # the first error is the one to report
            client.set_terminated(run_id, "FAILED")
        raise


def close_killed(client: mlflow.MlflowClient, experiment: str) -> None:
    """Mark runs as killed whose process is gone, or that another machine began a day ago.

    A process that is still writing sets the status of its run again when it is done.
    """
    with speaking_of_mlflow():
        running = client.search_runs(
            [experiment_id(client, experiment)], "attributes.status = 'RUNNING'"
        )
        for run in running:
            name = run.data.tags.get(records.EXECUTION)
            old = time.time() * 1000 - run.info.start_time > DAY
            if name and (old or origin.is_over(name)):
                client.set_terminated(run.info.run_id, "KILLED")


def digests(client: mlflow.MlflowClient, experiment: str) -> set[str]:
    """Return the digests of the records that have a finished run in an experiment."""
    found: set[str] = set()
    token = None
    with speaking_of_mlflow():
        while True:
            runs = client.search_runs(
                [experiment_id(client, experiment)],
                "attributes.status = 'FINISHED'",
                max_results=1000,
                page_token=token,
            )
            found |= {run.data.tags.get(records.DIGEST, "") for run in runs}
            token = runs.token
            if not token:
                return found


def logged_files(record: records.Record) -> dict[Path, str]:
    """Return the files that a stage's run is written from, with their md5s."""
    named = {REGISTERED: record.deps[REGISTERED]} if REPORT in record.outs else {}
    return named | {p: md5 for p, md5 in record.outs.items() if p.suffix in (*ARTIFACTS, MODEL)}


def run_name(stage: str, origin_tags: dict[str, str]) -> str:
    """Return a run's name: the stage, and the DVC experiment or the commit that it comes from.

    Examples
    --------
    >>> run_name("train", {records.COMMIT: "8b62935d41"}), run_name("train", {})
    ('train · 8b62935', 'train')
    """
    source = origin_tags.get(records.EXPERIMENT) or origin_tags.get(records.COMMIT, "")[:7]
    return f"{stage} · {source}" if source else stage


def stage_tags(record: records.Record, origin_tags: dict[str, str]) -> dict[str, str]:
    """Return a run's tags: the stage, the md5s of its deps and outs, and where it comes from."""
    tags = record.tags | {"mlflow.source.name": f"stages/{record.name}.py"} | origin_tags
    if records.COMMIT in origin_tags:
        tags["mlflow.source.git.commit"] = origin_tags[records.COMMIT]
    return tags


def _write(
    client: mlflow.MlflowClient,
    run_id: str,
    record: records.Record,
    folder: Path,
    exports: dict[Path, Export],
    now: int,
) -> None:
    """Write a stage's metrics, params, datasets, artifacts and models to its run."""
    measured = [
        Metric(records.key(key), float(value), now, 0)
        for key, value in records.read_metrics(record.outs, folder).items()
        if isinstance(value, int | float)
    ]
    _log_batches(client, run_id, measured, record.params)
    tables = {path: md5 for path, md5 in record.deps.items() if records.is_table(path, md5)}
    client.log_inputs(run_id, [_dataset(path, md5) for path, md5 in tables.items()])
    for path, md5 in record.outs.items():
        if path.suffix in ARTIFACTS:
            place = path.parent.as_posix() if path.parent.name else None
            client.log_artifact(run_id, str(folder / path), place)
        elif path in exports:
            models.log(run_id, exports[path], md5)


def _log_batches(
    client: mlflow.MlflowClient, run_id: str, measured: list[Metric], values: Mapping[str, Any]
) -> None:
    """Log metrics and params, in as many calls as MLflow needs."""
    params = [Param(records.key(key), str(value)) for key, value in values.items()]
    for first in range(0, max(len(measured), len(params)), BATCH):
        batch = slice(first, first + BATCH)
        client.log_batch(run_id, metrics=measured[batch], params=params[batch])


def _describe_version(client: mlflow.MlflowClient, folder: Path) -> None:
    """Add predict's report to the description of the version just registered, if it is about it.

    It names the md5 of the model that predicted, which may be an older version's.
    """
    registered = read_json(folder / REGISTERED)
    report = (folder / REPORT).read_text(encoding="utf-8")
    registry = Registry(client, registered["model"])
    version = registry.find(registered["md5"])
    if version is not None and registered["md5"] in report:
        report = re.sub(r"(?m)^!\[.*\n\n?", "", report)  # figures and links are relative to it
        registry.add_report(version, re.sub(r"\[(.*?)\]\(plots/.*?\)", r"\1", report))


def _dataset(path: Path, md5: str) -> DatasetInput:
    """Return MLflow's description of a table: its path, with DVC's md5 as the digest."""
    dataset = Dataset(
        name=path.as_posix(),
        digest=md5,
        source_type="dvc",
        source=json.dumps({"path": path.as_posix()}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", path.stem)])

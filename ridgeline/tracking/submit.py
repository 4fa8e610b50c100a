"""A trained model on its way into the registry: one version for each content, then the gate."""

import json
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion

from ridgeline.config import Settings
from ridgeline.errors import TrackingError
from ridgeline.files import INTERVALS, MODEL, read_json
from ridgeline.tracking import champion, models, records, runs
from ridgeline.tracking.champion import VALIDATION
from ridgeline.tracking.records import Record
from ridgeline.tracking.registry import Registry


def submit(
    registry: Registry,
    settings: Settings,
    recorded: Mapping[str, Record],
    origin_tags: dict[str, str],
    folder: Path = Path(),
) -> ModelVersion:
    """Register a model, unless it is registered, and let the gate decide if it is champion.

    Parameters
    ----------
    registry : Registry
        The registered model.
    settings : Settings
        Those that the model was made with.
    recorded : mapping of str to Record
        What DVC knows of the stages ``prepare`` and ``train`` that made it.
    origin_tags : dict of str
        Where it comes from, as by `origin.tags`.
    folder : Path
        Where the model, its metrics and the validation rows are.

    Returns
    -------
    ModelVersion
        With its aliases, and the decision as tags.

    Raises
    ------
    TrackingError
        When MLflow can't be reached or refuses.
    """
    md5, prepare, train = recorded["train"].outs[MODEL], recorded["prepare"], recorded["train"]
    version = registry.deduplicated(md5)
    if version is None:
        experiment = settings.mlflow.experiment
        model = _logged(registry.client, experiment, train, origin_tags, folder)
        tags = settings.register.tags | runs.stage_tags(train, origin_tags)
        tags |= {
            records.tag(records.DEPS, path): md5_of_dep
            for path, md5_of_dep in prepare.deps.items()
            if records.is_table(path, md5_of_dep)
        }
        tags |= {records.DIGEST: train.digest, records.MD5: md5}
        if (folder / INTERVALS).exists():  # not in states of earlier versions of the pipeline
            widths = read_json(folder / INTERVALS)["half_width"]
            tags[records.HALF_WIDTHS] = json.dumps(widths)
        version = registry.register(model, tags)
    champion.judge(registry, version, prepare.outs[VALIDATION], settings, folder)
    return registry.reread(version)


def files(recorded: Mapping[str, Record]) -> dict[Path, str]:
    """Return the files and folders that `submit` reads, with their md5s."""
    outs = runs.logged_files(recorded["train"])
    return outs | {VALIDATION: recorded["prepare"].outs[VALIDATION]}


def _logged(
    client: mlflow.MlflowClient,
    experiment: str,
    train: Record,
    origin_tags: dict[str, str],
    folder: Path,
) -> mlflow.entities.LoggedModel:
    """Return the model in MLflow; if its files are missing there, log the run with them again."""
    md5 = train.outs[MODEL]
    model = models.find(client, experiment, md5)
    if model is None:
        runs.write_run(client, experiment, train, origin_tags, folder)
        model = models.find(client, experiment, md5)
    if model is None:
        raise TrackingError(f"MLflow lost the files of {MODEL}; check its artifact store")
    return model

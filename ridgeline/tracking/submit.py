"""A trained model on its way into the registry: a version once by content, held to the gate."""

import json
from collections.abc import Mapping
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities.model_registry import ModelVersion

from ridgeline.config import Gate, Settings
from ridgeline.errors import ModelError, RidgelineError, TrackingError
from ridgeline.files import METRICS, MODEL, PREPARED
from ridgeline.model import scoring
from ridgeline.tables import engine, progress, reading
from ridgeline.tracking import gate, models, records, registry, runs

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SCORES, VALIDATION = METRICS / "train.json", PREPARED / "validation"


def submit(
    client: mlflow.MlflowClient,
    settings: Settings,
    recorded: Mapping[str, records.Record],
    origin_tags: dict[str, str],
    folder: Path = Path(),
) -> ModelVersion:
    """Register a model, unless it is registered, and let the gate decide if it is champion.

    Parameters
    ----------
    client : MlflowClient
        As by `store.connect`.
    settings : Settings
        Those that the model was made with.
    recorded : mapping of str to Record
        What DVC knows of the stages ``prepare`` and ``train`` that made it.
    origin_tags : dict of str
        Tags: where it comes from, as by `origin.tags`.
    folder : Path
        Where the model, its metrics and the validation rows are.

    Returns
    -------
    ModelVersion
        With its aliases, and the decision as tags: see `registry`.

    Raises
    ------
    TrackingError
        When MLflow can't be reached or refuses.
    """
    name, md5 = settings.register.model, recorded["train"].outs[MODEL]
    version = registry.only(client, name, md5)
    if version is None:
        model = _logged(client, settings.mlflow.experiment, recorded["train"], origin_tags, folder)
        tags = settings.register.tags | runs.stage_tags(recorded["train"], origin_tags)
        tags[records.DIGEST] = recorded["train"].digest
        tags |= {
            records.tag("deps", path): md5
            for path, md5 in recorded["prepare"].deps.items()
            if records.is_table(path, md5)
        }
        version = registry.register(client, name, model, tags | {records.MD5: md5})

    metrics = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    rows = recorded["prepare"].outs[VALIDATION]
    if version.tags.get(registry.DECISION) == registry.WITHDRAWN:
        return version
    settled = False
    while not settled:
        champion = registry.with_alias(client, name, registry.CHAMPION)
        if champion is not None and registry.number(champion) == registry.number(version):
            # whoever set it may have been killed before it looked again
            registry.crown(client, name, champion.tags.get(registry.ROWS, rows))
            break
        scores = {registry.RMSE: repr(metrics["validation"]["rmse"]), registry.ROWS: rows}
        champion_rmse = None
        try:
            if champion is not None:
                champion_rmse = _champion_rmse(client, champion, metrics, rows, settings, folder)
                scores[registry.RIVAL] = str(registry.number(champion))
                scores[registry.RIVAL_RMSE] = repr(champion_rmse)
            decision = _held_to_gate(metrics, champion_rmse, settings.register.gate)
        except ModelError as error:
            by_hand = f"to replace it, run 'make promote VERSION={registry.number(version)}'"
            decision = gate.Decision(False, f"{error}; {by_hand}")
        registry.record(client, version, decision, scores)
        # another champion, of other rows, may have come meanwhile: then it is to be met
        settled = not decision.promote or registry.crown(client, name, rows, champion)
    return registry.reread(client, version)


def files(recorded: Mapping[str, records.Record]) -> dict[Path, str]:
    """Return the files and folders that `submit` reads, with their md5s."""
    outs = runs.logged_files(recorded["train"])
    return outs | {VALIDATION: recorded["prepare"].outs[VALIDATION]}


def _logged(
    client: mlflow.MlflowClient,
    experiment: str,
    train: records.Record,
    origin_tags: dict[str, str],
    folder: Path,
) -> mlflow.entities.LoggedModel:
    """Find the model in MLflow; where it lacks the files, log the run that has them again."""
    model = models.logged_model(client, experiment, train.outs[MODEL])
    if model is None:
        runs.write_run(client, experiment, train, origin_tags, folder)
        model = models.logged_model(client, experiment, train.outs[MODEL])
    if model is None:
        raise TrackingError(f"MLflow lost the files of {MODEL}; look after its artifact store")
    return model


def _held_to_gate(
    metrics: records.Values, champion_rmse: float | None, thresholds: Gate
) -> gate.Decision:
    return gate.decide(
        rmse=metrics["validation"]["rmse"],
        r2=metrics["validation"]["r2"],
        baseline_rmse=metrics["baseline"]["validation"]["rmse"],
        champion_rmse=champion_rmse,
        max_rmse=thresholds.max_rmse,
        min_r2=thresholds.min_r2,
        min_improvement=thresholds.min_improvement,
        must_beat_baseline=thresholds.must_beat_baseline,
    )


def _champion_rmse(
    client: mlflow.MlflowClient,
    champion: ModelVersion,
    metrics: records.Values,
    rows: str,
    settings: Settings,
    folder: Path,
) -> float | None:
    """Score the champion; the score that stands on it counts, where it is of the same rows."""
    keeps = f"version {registry.number(champion)} stays champion, for it"
    try:
        model = models.load_model(client, champion)
    except ModelError:
        raise ModelError(f"{keeps} can't be loaded") from None
    gone = sorted({*getattr(model, "feature_names_in_", ())} - {*settings.data.features})
    if gone:
        raise ModelError(f"{keeps} needs column {gone[0]}")
    recorded = registry.recorded_rmse(champion, rows)
    if recorded is not None:
        return recorded
    try:
        return _rmse(model, settings, metrics["baseline"]["prediction"], folder / VALIDATION)
    except (RidgelineError, OSError):  # of the rows, or of where the work runs
        raise
    except Exception:  # noqa: BLE001 - a model of any kind, on columns that may have changed theirs
        raise ModelError(f"{keeps} can't predict these rows") from None


def _rmse(model: "Pipeline", settings: Settings, baseline: float, place: Path) -> float | None:
    """Score a model on the rows of a table."""
    target = settings.data.target
    table = reading.open_table(place, (target, *settings.data.features))
    work = partial(_score, model, target, baseline)
    with progress.bar("register", lambda: table.size) as done:
        sums = reduce(scoring.add, engine.mapped(work, table.parts(), done), scoring.NONE)
    return scoring.metrics(sums)["rmse"]


def _score(model: "Pipeline", target: str, baseline: float, part: reading.Part) -> scoring.Array:
    rows = part.frame()
    return scoring.sums(rows[target].to_numpy(), model.predict(rows), baseline)

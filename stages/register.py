"""Register the model in MLflow, once by content, and let the gate decide whether it is champion."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities.model_registry import ModelVersion

from ridgeline import content, dataset, registry, scoring, tracking
from ridgeline.config import Settings
from ridgeline.errors import ModelError
from ridgeline.files import write_json
from stages import run

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MODEL, VALIDATION = Path("models/model.joblib"), Path("data/prepared/validation")


def main(settings: Settings) -> None:
    """Write the registered model's name and md5; print the version and what was decided on it."""
    name, md5 = settings.register.model, content.md5(MODEL)
    client = tracking.connect()
    for stage in ("prepare", "featurize", "train"):
        tracking.log_missing(client, stage, settings.mlflow.experiment)
    version = registry.find(client, name, md5)
    if version is None:
        model = tracking.logged_model(client, settings.mlflow.experiment, MODEL, "train")
        data = tracking.data_tags("prepare") | tracking.data_tags("train")
        tags = settings.register.tags | tracking.source_tags() | data | {tracking.MD5: md5}
        version = registry.register(client, name, model, tags)

    registry.challenge(client, version)
    champion = registry.champion(client, name)
    if champion is not None and registry.number(champion) == registry.number(version):
        version, reason = champion, "it is the champion already"
    else:
        decision = _decide(champion, settings)
        version = registry.describe(client, version, decision)
        reason = decision.reason
    print(f"{name} version {registry.number(version)} ({', '.join(version.aliases)}): {reason}")
    write_json(Path("models/registered.json"), {"model": name, "md5": md5})


def _decide(champion: ModelVersion | None, settings: Settings) -> registry.Decision:
    """Hold the candidate against the gate, and against the champion on the same rows."""
    metrics = json.loads(Path("metrics/train.json").read_text(encoding="utf-8"))
    champion_rmse = None
    if champion is not None:
        keeps = f"version {registry.number(champion)} stays champion, for it"
        promote = "to replace it, move the alias in MLflow"
        try:
            model = registry.load_model(champion)
        except ModelError:
            return registry.Decision(False, f"{keeps} can't be loaded; {promote}")
        gone = sorted({*model.feature_names_in_} - {*settings.data.features})
        if gone:
            return registry.Decision(False, f"{keeps} needs column {gone[0]}; {promote}")
        try:
            champion_rmse = _rmse(model, settings, metrics["baseline"]["prediction"])
        except ValueError:  # scikit-learn's, of missing values that only a newer model fills
            return registry.Decision(False, f"{keeps} can't predict these rows; {promote}")
    return registry.decide(
        rmse=metrics["validation"]["rmse"],
        r2=metrics["validation"]["r2"],
        baseline_rmse=metrics["baseline"]["validation"]["rmse"],
        champion_rmse=champion_rmse,
        max_rmse=settings.register.gate.max_rmse,
        min_r2=settings.register.gate.min_r2,
    )


def _rmse(model: "Pipeline", settings: Settings, baseline: float) -> float | None:
    """Score a model on the validation rows."""
    target = settings.data.target
    rows = dataset.open_table(VALIDATION, (target, *settings.data.features))
    pairs = ((frame[target].to_numpy(), model.predict(frame)) for frame in rows)
    return scoring.metrics(scoring.total(pairs, baseline))["rmse"]


if __name__ == "__main__":
    run("register", main)

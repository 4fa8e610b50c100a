"""Register the model in MLflow, once by content, and let the gate decide whether it is champion."""

from pathlib import Path

from ridgeline import candidate, pipeline, registry, source, tracking
from ridgeline.config import Settings
from ridgeline.files import write_json
from stages import run


def main(settings: Settings) -> None:
    """Write the registered model's name and md5; print the version and what was decided on it."""
    client, origin = tracking.connect(), source.tags()
    records = {stage: pipeline.latest(stage) for stage in ("prepare", "featurize", "train")}
    for record in records.values():
        tracking.log_missing(client, settings.mlflow.experiment, record, origin)

    version = candidate.submit(client, settings, records, origin)
    registry.challenge(client, version)
    version = registry.reread(client, version)
    print(registry.summary(version))
    md5 = version.tags[tracking.MD5]
    write_json(Path("models/registered.json"), {"model": version.name, "md5": md5})


if __name__ == "__main__":
    run("register", main)

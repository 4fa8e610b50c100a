"""Register the model in MLflow, once by content, and let the gate decide whether it is champion."""

from ridgeline.config import Settings
from ridgeline.files import REGISTERED, write_json
from ridgeline.tracking import origin, records, registry, runs, store, submit
from stages import run


def main(settings: Settings) -> None:
    """Write the registered model's name and md5; print the version and what was decided on it."""
    client, tags = store.connect(), origin.tags()
    recorded = {stage: records.latest(stage) for stage in ("prepare", "featurize", "train")}
    for record in recorded.values():
        runs.log_missing(client, settings.mlflow.experiment, record, tags)

    version = submit.submit(client, settings, recorded, tags)
    registry.challenge(client, version)
    version = registry.reread(client, version)
    print(registry.summary(version))
    md5 = version.tags[records.MD5]
    write_json(REGISTERED, {"model": version.name, "md5": md5})


if __name__ == "__main__":
    run("register", main)

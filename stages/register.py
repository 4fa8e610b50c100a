"""Register the model in MLflow, deduplicated by md5; the gate decides if it becomes champion."""

from ridgeline.config import Settings
from ridgeline.files import REGISTERED, write_json
from ridgeline.tracking import origin, records, runs, store, submit
from ridgeline.tracking.registry import CHALLENGER, Registry, number, summary
from stages import run


def main(settings: Settings) -> None:
    """Write the registered model's name and md5; print the version and the gate's decision."""
    registry, tags = Registry(store.connect(), settings.register.model), origin.tags()
    recorded = {stage: records.latest(stage) for stage in ("prepare", "featurize", "train")}
    for record in recorded.values():
        runs.log_missing(registry.client, settings.mlflow.experiment, record, tags)

    version = submit.submit(registry, settings, recorded, tags)
    registry.set_alias(CHALLENGER, number(version))
    print(summary(registry.reread(version)))
    write_json(REGISTERED, {"model": version.name, "md5": version.tags[records.MD5]})


if __name__ == "__main__":
    run("register", main)

"""The commands that are not stages of the pipeline: ``python -m ridgeline --help``."""

import argparse
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from ridgeline import config
from ridgeline.errors import exit_on_error
from ridgeline.tables import engine  # noqa: F401 - it chooses the BLAS kernel before numpy is imported


def main() -> None:
    """Run the command that the arguments name."""
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files are removed
    with exit_on_error(arguments.command):
        sys.exit(arguments.run(arguments))


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each stores the function to run as ``run``."""
    root = argparse.ArgumentParser(
        prog="python -m ridgeline",
        description="Begin with a table of your own; trace, restore, promote and serve models. "
        "Set MLFLOW_TRACKING_URI to use a store other than mlflow.db in this folder.",
    )
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)

    init = commands.add_parser(
        "init",
        help="set the project up for a table of your own",
        description="Propose from a table's first rows what each column is used for, write that to "
        "params.yaml with names taken from the table, and remove the example's table and results.",
    )
    init.add_argument("table", help="a CSV or Parquet file, or a folder of them")
    init.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    init.add_argument(
        "--key", metavar="COLUMN", help="the column that identifies rows; by default looked for"
    )
    init.add_argument("--name", help="the name of the model, the experiment and the predictions")
    init.add_argument("--force", action="store_true", help="overwrite uncommitted changes")
    init.set_defaults(run=_init)

    predict = commands.add_parser(
        "predict",
        help="predict a table with a registered model",
        description="Predict each row of a table with a registered model, outside the pipeline. A "
        "row without a prediction has the reason instead. The output appears when it is complete.",
    )
    predict.add_argument("model", help="3, champion, models:/NAME/3 or models:/NAME@champion")
    predict.add_argument("table", help="a CSV or Parquet file, a folder or a glob; s3:// too")
    predict.add_argument(
        "-o", "--output", required=True, type=Path, help="a .csv file, or a folder for Parquet"
    )
    predict.add_argument(
        "--level", type=float, help="of the prediction intervals; by default predict.level"
    )
    predict.add_argument(
        "--fail-on-drift",
        action="store_true",
        help="exit with status 1 if the rows differ from the training rows, or none was predicted",
    )
    predict.set_defaults(run=_predict)

    lineage = commands.add_parser(
        "lineage",
        help="print which commit, data and params a model or run comes from, or restore them",
        description="Print which commit, data and params a model version or a run comes from. With "
        "--restore, check out that state and its data in a separate folder.",
    )
    lineage.add_argument(
        "of",
        help="3, champion, models:/NAME/3 or models:/NAME@champion, a model's md5, or a run's id",
    )
    lineage.add_argument("--restore", metavar="DIR", type=Path, help="an empty or new folder")
    lineage.set_defaults(run=_lineage)

    diff = commands.add_parser(
        "diff",
        help="explain how two versions, commits or experiments differ",
        description="Explain how two states of the project differ: their params, code, rows by "
        "key, distributions of columns, metrics and coefficients.",
    )
    for name in ("a", "b"):
        diff.add_argument(
            name, metavar=name.upper(), help="3, champion, a commit or branch, or an experiment"
        )
    diff.add_argument("--markdown", action="store_true", help="print Markdown tables")
    diff.set_defaults(run=_diff)

    changes = commands.add_parser(
        "changes",
        help="write a page of what this branch changes, for its reviewers",
        description="Write as Markdown what this branch changes in params, metrics, the report and "
        "figures, and whether dvc.lock is up to date. Needs no data and no MLflow.",
    )
    changes.add_argument("--base", default="origin/main", help="compare with this branch or commit")
    changes.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("changes"), help="by default changes"
    )
    changes.set_defaults(run=_changes)

    backfill = commands.add_parser(
        "backfill",
        help="write to MLflow the runs and versions of dvc.lock that are missing there",
        description="Write to MLflow the runs and versions of dvc.lock that are missing there: it "
        "was down or wiped, or DVC restored a stage from its cache. The exit status is 1 if some "
        "could not be written.",
    )
    backfill.add_argument("--all-commits", action="store_true", help="include all commits")
    backfill.add_argument(
        "--all-experiments", action="store_true", help="include all DVC experiments"
    )
    backfill.add_argument(
        "--pull", action="store_true", help="fetch missing files from DVC's remote"
    )
    backfill.set_defaults(run=_backfill)

    promote = commands.add_parser(
        "promote",
        help="make a version champion by hand",
        description="Make a version champion by hand. The current champion is withdrawn: it gets "
        "the alias previous, and the gate can't make it champion again.",
    )
    promote.add_argument("version", help="3, challenger, models:/NAME/3 or models:/NAME@challenger")
    promote.set_defaults(run=_promote)

    rollback = commands.add_parser(
        "rollback",
        help="make the previous champion champion again",
        description="Make the version with the alias previous champion again.",
    )
    rollback.set_defaults(run=_promote, version="previous")

    serve = commands.add_parser(
        "serve",
        help="serve the champion over HTTP on this machine",
        description="Serve the champion by MLflow's scoring server on 127.0.0.1, which asks for no "
        "login. A later champion is not followed: docs/serving.md shows how to move over to it.",
    )
    serve.add_argument("--port", type=int, default=5001, help="the port to listen on")
    serve.add_argument("--workers", type=int, default=1, help="the number of processes")
    serve.set_defaults(run=_serve)
    return root


# The commands import MLflow themselves, so that --help does not wait for it.


def _init(arguments: argparse.Namespace) -> int:
    from ridgeline import init

    roles = init.init(
        arguments.table, arguments.target, arguments.key, arguments.name, arguments.force
    )
    print(init.summary(roles))
    options = config.load().data.csv
    if options != config.DEFAULT_CSV:
        shown = ", ".join(f"{name} {value!r}" for name, value in asdict(options).items())
        print(f"\nas the setting data.csv in params.yaml says: {shown}")
    if not any(role.role == init.KEY for role in roles):
        print("no column identifies rows: they are numbered, so a row's split depends on its place")
    print("\nChange params.yaml if you want other columns, then run: make repro")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    # Arrow's own pool keeps more of what is freed. pyarrow reads this when it is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from ridgeline import batch

    settings = config.load()
    level = settings.predict.level if arguments.level is None else arguments.level
    lines = batch.run(
        arguments.model,
        arguments.table,
        arguments.output,
        level,
        settings,
        fail_on_drift=arguments.fail_on_drift,
    )
    for line in lines:
        print(line, flush=True)  # before the warnings that follow
    return 0


def _lineage(arguments: argparse.Namespace) -> int:
    from ridgeline.history import lineage

    lineage.show(arguments.of, arguments.restore)
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from ridgeline.history import diff

    diff.show(arguments.a, arguments.b, markdown=arguments.markdown)
    return 0


def _changes(arguments: argparse.Namespace) -> int:
    from ridgeline.history import changes

    print(changes.write(arguments.base, arguments.output))
    return 0


def _backfill(arguments: argparse.Namespace) -> int:
    from ridgeline.history import backfill, revisions

    history = [
        *(revisions.commits() if arguments.all_commits else []),
        *(revisions.experiments() if arguments.all_experiments else []),
    ]
    return 1 if backfill.backfill(history, pull=arguments.pull) else 0


def _promote(arguments: argparse.Namespace) -> int:
    from ridgeline.tracking import champion, store
    from ridgeline.tracking.registry import number, version_named

    model = config.load().register.model
    version = champion.promote(*version_named(store.connect(), arguments.version, model))
    print(f"{version.name} version {number(version)} is champion")
    return 0


def _serve(arguments: argparse.Namespace) -> None:
    from ridgeline import serving

    serving.serve(config.load().register.model, arguments.port, arguments.workers)


if __name__ == "__main__":
    main()

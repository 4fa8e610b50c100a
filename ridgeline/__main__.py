"""The commands for what stages don't do: ``python -m ridgeline --help``."""

import argparse
import sys
from pathlib import Path

from ridgeline import config
from ridgeline.errors import exit_on_error


def main() -> None:
    """Run the command that the arguments name."""
    arguments = parser().parse_args()
    with exit_on_error(arguments.command):
        sys.exit(arguments.run(arguments))


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the function to run is its argument ``run``."""
    root = argparse.ArgumentParser(
        prog="python -m ridgeline",
        description="Trace, restore and promote registered models. "
        "MLFLOW_TRACKING_URI names another store than mlflow.db in this folder.",
    )
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)

    lineage = commands.add_parser(
        "lineage",
        help="print which commit, data and params a model or run comes from, or restore them",
        description="Print which commit, data and params a model version or a run comes from. With "
        "--restore, check out that state and its data in a folder of their own.",
    )
    lineage.add_argument(
        "of", help="models:/NAME/3, models:/NAME@champion, @champion for short, or a run id"
    )
    lineage.add_argument("--restore", metavar="DIR", type=Path, help="an empty or new folder")
    lineage.set_defaults(run=_lineage)

    backfill = commands.add_parser(
        "backfill",
        help="write to MLflow the runs and versions that DVC has and MLflow lacks",
        description="Write to MLflow the runs and versions of dvc.lock that it lacks: it was down "
        "or was wiped, or DVC restored a stage from its cache. The exit status is 1 if some could "
        "not be written.",
    )
    backfill.add_argument("--all-commits", action="store_true", help="of all commits, too")
    backfill.add_argument(
        "--all-experiments", action="store_true", help="of all DVC experiments, too"
    )
    backfill.add_argument(
        "--pull", action="store_true", help="fetch from DVC's remote what its cache lacks"
    )
    backfill.set_defaults(run=_backfill)

    promote = commands.add_parser(
        "promote",
        help="make a version champion by hand",
        description="Make a version champion by hand. The champion so far is withdrawn: it gets "
        "the alias previous, and the gate does not bring it back.",
    )
    promote.add_argument("version", help="its number, or an alias such as challenger")
    promote.set_defaults(run=_promote)

    rollback = commands.add_parser(
        "rollback",
        help="make the previous champion champion again",
        description="Make the version with the alias previous champion again.",
    )
    rollback.set_defaults(run=_promote, version="previous")
    return root


# MLflow is imported by the command that needs it: --help should not wait for it.


def _lineage(arguments: argparse.Namespace) -> int:
    from ridgeline.history import lineage

    lineage.show(arguments.of, arguments.restore)
    return 0


def _backfill(arguments: argparse.Namespace) -> int:
    from ridgeline.history import backfill, revisions

    history = [
        *(revisions.commits() if arguments.all_commits else []),
        *(revisions.experiments() if arguments.all_experiments else []),
    ]
    return 1 if backfill.backfill(history, pull=arguments.pull) else 0


def _promote(arguments: argparse.Namespace) -> int:
    from ridgeline.tracking import registry, store

    client, name = store.connect(), config.load().register.model
    version = registry.promote(client, name, arguments.version)
    print(f"{name} version {registry.number(version)} is champion")
    return 0


if __name__ == "__main__":
    main()

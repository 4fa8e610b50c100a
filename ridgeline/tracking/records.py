"""What DVC knows of a stage: the files, params and metrics that make up its run.

``dvc.yaml`` declares them, and ``dvc.lock`` records by their md5s which of them made which.
"""

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ridgeline import environment
from ridgeline.config import read_yaml
from ridgeline.errors import SettingsError
from ridgeline.files import PLOTS, md5_of, read_json
from ridgeline.tables import place

Values = dict[str, Any]
PARAMS = "params.yaml"
CODE = ("ridgeline", "stages")

# The names of all tags. On runs and versions: the stage with the md5 of its entry in dvc.lock (set
# last, so only complete runs carry it), and where it comes from.
STAGE, DIGEST, DEPS, OUTS = "dvc.stage", "dvc.lock", "dvc.deps.", "dvc.outs."
COMMIT, DIRTY, REMOTE = "git.commit", "git.dirty", "git.remote"
EXPERIMENT, BASELINE, EXECUTION = "dvc.experiment", "dvc.baseline", "dvc.execution"
# On versions, logged models and runs of the command `predict`: the md5 of the model's file.
MD5 = "dvc.md5"
# On versions: the gate's decision and why, the score and the md5 of its validation rows, and the
# champion that the version was compared with: its score, and as in `scoring.Comparison` the
# difference, the bounds of its interval, and the probability that the version is better.
DECISION, REASON = "gate.decision", "gate.reason"
RMSE, ROWS = "validation.rmse", "validation.md5"
RIVAL, RIVAL_RMSE = "gate.champion", "gate.champion_rmse"
COMPARISON = (
    "gate.difference", "gate.difference_lower", "gate.difference_upper", "gate.probability",
)  # fmt: skip
# On versions: half the width of prediction intervals by level, as JSON.
HALF_WIDTHS = "interval.half_width"


@dataclass(frozen=True)
class Stage:
    """A stage's declared files, and the values it was declared to depend on.

    `outs` are all its outputs, and those of them in the folder ``metrics`` hold its metrics.
    """

    name: str
    deps: tuple[Path, ...]
    outs: tuple[Path, ...]
    params: Values


@dataclass(frozen=True)
class Record:
    """A stage as it ran: the md5 of each file and folder, as dvc.lock has them, and its params."""

    name: str
    deps: Mapping[Path, str]
    outs: Mapping[Path, str]
    params: Values

    @property
    def digest(self) -> str:
        """The md5 of all this: equal for two executions that DVC can't tell apart."""
        files = [{p.as_posix(): md5 for p, md5 in part.items()} for part in (self.deps, self.outs)]
        text = json.dumps([self.name, *files, self.params], sort_keys=True)
        return hashlib.md5(text.encode()).hexdigest()

    @property
    def tags(self) -> dict[str, str]:
        """Name the stage and the md5 of each dep and out, as MLflow's tags."""
        files = [(DEPS, self.deps), (OUTS, self.outs)]
        md5s = {tag(prefix, path): md5 for prefix, part in files for path, md5 in part.items()}
        return {STAGE: self.name} | md5s


def load(name: str, folder: Path = Path()) -> Stage:
    """Read one stage of ``dvc.yaml``.

    Parameters
    ----------
    name : str
        The stage.
    folder : Path
        The project's root: where dvc.yaml and params.yaml are.

    Returns
    -------
    Stage
        Its paths relative to `folder`, ``${…}`` filled in from params.yaml; `params` has a
        dotted key for each value.

    Raises
    ------
    SettingsError
        When dvc.yaml has no such stage, or names a param that params.yaml lacks.
    """
    stages = read_yaml(folder / "dvc.yaml").get("stages", {})
    if name not in stages:
        raise SettingsError(f"dvc.yaml has no stage {name!r}; add it, or run one of: {[*stages]}")
    stage, params = stages[name], read_yaml(folder / PARAMS)

    def paths(kind: str) -> tuple[Path, ...]:
        entries = [e if isinstance(e, str) else next(iter(e)) for e in stage.get(kind, [])]
        filled = [
            re.sub(r"\$\{(.+?)\}", lambda m: str(_value(params, m[1], PARAMS)), entry)
            for entry in entries
        ]
        return tuple(Path(entry) for entry in filled if not _in_s3(entry))

    declared: Values = {}
    for entry in stage.get("params", []):
        named = entry if isinstance(entry, dict) else {PARAMS: [entry]}
        for file, keys in named.items():
            values = _read_params(folder / file)
            declared |= {key: _value(values, key, file) for key in keys}
    return Stage(name, paths("deps"), paths("outs") + paths("metrics"), flat(declared))


def recorded(stage: Stage, folder: Path = Path()) -> Record:
    """Take the md5s of a stage's files as they are in `folder`."""
    deps, outs = (
        {path: md5_of(folder / path) for path in paths} for paths in (stage.deps, stage.outs)
    )
    return Record(stage.name, deps, outs, stage.params)


@lru_cache(maxsize=1)  # register reads the records of three stages, and parsing takes 0.1 s
def locked(text: str) -> dict[str, Record]:
    """Return the records of a ``dvc.lock``, given as text; none if it is not a valid one."""
    try:
        return {
            name: Record(
                name,
                _md5s(entry.get("deps", [])),
                _md5s(entry.get("outs", [])),
                flat({k: v for file in entry.get("params", {}).values() for k, v in file.items()}),
            )
            for name, entry in YAML(typ="safe").load(text)["stages"].items()
        }
    except (YAMLError, TypeError, KeyError, AttributeError):  # such as one with merge conflicts
        return {}


def upstream(records: Mapping[str, Record], name: str) -> list[Record]:
    """Return a stage's record, after those of all stages that made what it was made from."""
    made_by = {path: record for record in records.values() for path in record.outs}
    found: dict[str, Record] = {}

    def visit(record: Record) -> None:
        for path in record.deps:
            if path in made_by and made_by[path].name not in found:
                visit(made_by[path])
        found[record.name] = record

    visit(records[name])
    return [*found.values()]


def latest(name: str) -> Record:
    """Return the record of a stage's last execution here.

    That is dvc.lock's, which DVC writes after each stage, if the stage's files are as it says;
    else someone ran the stage without DVC, and the files tell. (Folders are not looked at, for
    they may be large.)
    """
    lock = Path("dvc.lock")
    record = locked(lock.read_text(encoding="utf-8")).get(name) if lock.is_file() else None
    if record is None:
        return recorded(load(name))
    files = {path: md5 for path, md5 in record.outs.items() if not md5.endswith(".dir")}
    return recorded(load(name)) if missing(files) else record


def missing(md5s: Mapping[Path, str], folder: Path = Path()) -> list[Path]:
    """Name the files and folders that are not in `folder` with the content of their md5."""
    return [
        path
        for path, md5 in md5s.items()
        if not (folder / path).exists() or md5_of(folder / path) != md5
    ]


def read_metrics(outs: Iterable[Path], folder: Path = Path()) -> Values:
    """Read the metrics among a stage's outputs: a dotted key for each value."""
    values: Values = {}
    for path in outs:
        if path.parts[:1] == ("metrics",):
            values |= flat(read_json(folder / path))
    return values


def is_table(path: Path, md5: str) -> bool:
    """Return whether a dep is a table, a folder of parts or one file; code and plots are none."""
    data = md5.endswith(".dir") or place.kind(path.name) in place.KINDS
    return data and not {*path.parts[:1]} & {*CODE, PLOTS.name}


def tag(prefix: str, path: Path) -> str:
    """Return the name of the tag with the md5 of a file or folder; `prefix` is `DEPS` or `OUTS`."""
    return key(prefix + path.as_posix())


def key(name: str) -> str:
    """Replace what MLflow refuses in a key, such as the brackets of a column's unit."""
    valid = re.sub(r"[^\w.\-: /]", "_", name)
    return valid if valid == posixpath.normpath(valid) else valid.replace("/", "_")


def flat(values: Values) -> Values:
    """Name each leaf of nested mappings by its dotted key: {"a": {"b": 1}} is {"a.b": 1}."""
    leaves: Values = {}
    for key, value in values.items():
        if isinstance(value, dict):
            leaves |= {f"{key}.{inner}": leaf for inner, leaf in flat(value).items()}
        else:
            leaves[key] = value
    return leaves


def _md5s(entries: list[dict[str, str]]) -> dict[Path, str]:
    return {Path(e["path"]): e["md5"] for e in entries if "md5" in e and not _in_s3(e["path"])}


def _in_s3(path: str) -> bool:
    # of a file there DVC knows an ETag, and an md5 of ETags of a folder: no part of a record
    return path.startswith("s3://")


def _read_params(path: Path) -> Values:
    return environment.read(path.parent) if path.name == environment.FILE.name else read_yaml(path)


def _value(params: Values, key: str, file: str) -> Any:
    value: Any = params
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            raise SettingsError(f"dvc.yaml names {key}, which {file} lacks; add it to either")
        value = value[name]
    return value

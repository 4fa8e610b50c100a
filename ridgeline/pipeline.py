"""What ``dvc.yaml`` declares of a stage: the files, params and metrics that make up its run."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ridgeline.config import read_yaml
from ridgeline.errors import SettingsError

Values = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A stage's declared files, and the values it was declared to depend on.

    `outs` are all its outputs, and those of them in the folder ``metrics`` hold its metrics.
    """

    name: str
    deps: tuple[Path, ...]
    outs: tuple[Path, ...]
    params: Values


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
    stage, params = stages[name], read_yaml(folder / "params.yaml")

    def paths(kind: str) -> tuple[Path, ...]:
        entries = [e if isinstance(e, str) else next(iter(e)) for e in stage.get(kind, [])]
        return tuple(
            Path(re.sub(r"\$\{(.+?)\}", lambda m: str(_value(params, m[1])), entry))
            for entry in entries
        )

    declared = {key: _value(params, key) for key in stage.get("params", [])}
    return Stage(name, paths("deps"), paths("outs") + paths("metrics"), flat(declared))


def read_metrics(stage: Stage, folder: Path = Path()) -> Values:
    """Read a stage's metrics: a dotted key for each value."""
    values: Values = {}
    for path in stage.outs:
        if path.parts[0] == "metrics":
            values |= flat(json.loads((folder / path).read_text(encoding="utf-8")))
    return values


def flat(values: Values) -> Values:
    """Name each leaf of nested mappings by its dotted key: {"a": {"b": 1}} is {"a.b": 1}."""
    leaves: Values = {}
    for key, value in values.items():
        if isinstance(value, dict):
            leaves |= {f"{key}.{inner}": leaf for inner, leaf in flat(value).items()}
        else:
            leaves[key] = value
    return leaves


def _value(params: Values, key: str) -> Any:
    value: Any = params
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            raise SettingsError(f"dvc.yaml names {key}, which params.yaml lacks; add it to either")
        value = value[name]
    return value

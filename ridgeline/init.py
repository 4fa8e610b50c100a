"""Set the project up for a user's own table: its columns' roles and its names in params.yaml."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from ridgeline.config import DEFAULT_CSV, MISSING_VALUES, PREDICTED, ROW, Csv
from ridgeline.errors import DataError, SettingsError
from ridgeline.files import replacing
from ridgeline.intake.contract import as_numbers, as_text
from ridgeline.tables import dialect, reading
from ridgeline.tables.place import explaining, is_csv, kind
from ridgeline.tracking.origin import git

HEAD_ROWS = 100_000
MOST_CATEGORIES = 50
MOSTLY_MISSING = 0.8  # a column with a larger share of missing values is left out
MUCH_MISSING = 0.05  # if more rows than this share have a missing value, values are imputed
DATE = r"^\d{4}[-/.]\d\d?[-/.]\d\d?|^\d\d?[-/.]\d\d?[-/.]\d{4}"
KEY_NAME = r"(?i)^(.*[ _.-])?(id|key|case|code|nr|no|number|index|rownames?)$"
# the example's files, and what its runs left
EXAMPLE = (
    "dvc.lock", "metrics.json", "metrics", "plots", "report.md", "data/raw/possum.csv",
    "data/raw/README.md", "data/prepared", "data/features", "models", "predictions",
)  # fmt: skip
NUMERIC, CATEGORICAL, KEY, TARGET, LEFT_OUT = "numeric", "categorical", "key", "target", "left out"


class Role(NamedTuple):
    """What a column is used for, and why."""

    column: str
    role: str
    reason: str


def propose(table: pa.Table, target: str, key: str | None, decimal: str = ".") -> list[Role]:
    """Propose what each column is used for, from a table's first rows.

    Parameters
    ----------
    table : Table
        The rows; CSV columns as text.
    target : str
        The column to predict.
    key : str, optional
        The column that identifies rows; by default a column whose name and values say so.
    decimal : str
        The character before the decimals of numbers in texts.

    Returns
    -------
    list of Role
        One for each column, in the table's order.

    Raises
    ------
    DataError
        If target or key is not a column, the target does not hold numbers, or no column is left
        to predict from.
    """
    names = table.column_names
    for name in (target, *([key] if key else [])):
        if name not in names:
            raise DataError(f"there is no column {name!r}; the columns are {', '.join(names)}")
    texts = _texts(table[target])
    wrong = texts[as_numbers(texts, decimal).isna()]
    if len(wrong) or not len(texts):
        shown = f"contains {wrong.iloc[0]!r}" if len(wrong) else "has no values"
        raise DataError(f"the target {target!r} {shown}; name a column of numbers")
    keys = [key] if key else [n for n in names if n != target and _is_key(n, table[n])]
    roles = [
        Role(name, TARGET, "to predict")
        if name == target
        else Role(name, KEY, "named as the key" if key else "a different value in each row")
        if name in keys[:1]
        else _role(name, table[name], decimal)
        for name in names
    ]
    if not {NUMERIC, CATEGORICAL} & {role.role for role in roles}:
        raise DataError("no column is left to predict from; add columns to the table")
    if ROW in names and not keys:
        raise DataError(f"rename column {ROW!r}: without a key, it holds the rows' numbers")
    return roles


def init(source: str, target: str, key: str | None, name: str | None, force: bool) -> list[Role]:
    """Set params.yaml up for a table, and remove the example's table and results.

    Parameters
    ----------
    source : str
        A CSV or Parquet file, a folder or a glob of them; copied to data/raw if it is elsewhere.
    target : str
        The column to predict.
    key : str, optional
        The column that identifies rows.
    name : str, optional
        What the model, the experiment and the predictions are named after; by default the table.
    force : bool
        Whether to overwrite files that differ from the last commit.

    Raises
    ------
    SettingsError
        If the current folder is not a clone of the project, or has uncommitted changes.
    DataError
        If the table can't be read, or its columns can't be used.
    """
    params = Path("params.yaml")
    if not (params.is_file() and Path("dvc.yaml").is_file() and git("rev-parse", "HEAD")):
        raise SettingsError("this is not a clone of the project; run init in its root")
    changed = git("status", "--porcelain", "--", "params.yaml", *EXAMPLE)
    if changed and not force:
        file = changed.splitlines()[0].split(maxsplit=1)[1]
        raise SettingsError(f"{file} has uncommitted changes; commit them, or use --force")
    table, options = _head(source)
    roles = propose(table, target, key, options.decimal)
    if name is None:
        stem = Path(source).name[: -len(kind(source)) or None]
        name = re.sub(r"\W+", "_", stem).strip("_")
    if not re.fullmatch(r"[\w-]+", name):
        raise SettingsError(f"the name {name!r} should have only letters, digits, _ and -")
    place = _inside(source)
    within = [path for path in EXAMPLE if Path(place).is_relative_to(path) and Path(path).is_dir()]
    if within:
        raise SettingsError(f"{source} is in {within[0]}, which is emptied; move it to data/raw")
    for path in map(Path, EXAMPLE):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.as_posix() != place:
            path.unlink(missing_ok=True)
    _write(params, roles, table, place, options, name)
    return roles


def summary(roles: Sequence[Role]) -> str:
    """Return a line for each column: its role and the reason for it."""
    width = min(30, max(len(role.column) for role in roles))
    return "\n".join(f"{r.column:{width}}  {r.role:11}  {r.reason}" for r in roles)


def _head(source: str) -> tuple[pa.Table, Csv]:
    """Return a table's first rows, and how its CSV files are written."""
    files = reading.open_table(source, ()).files
    options = _options(files) if is_csv(files[0]) else DEFAULT_CSV
    columns = reading.column_names(files[0], options)
    opened = reading.open_table(source, columns, missing_values=MISSING_VALUES, csv_options=options)
    table: pa.Table = next(next(opened.parts()).tables()).slice(0, HEAD_ROWS)
    if len(table) < 2:
        raise DataError(f"{source} has {len(table)} rows; a model needs more")
    if dialect.delimiter(files[0], options) != "," and _has_decimal_commas(table):
        options = replace(options, delimiter=dialect.delimiter(files[0], options), decimal=",")
    return table, options


def _options(files: Sequence[str]) -> Csv:
    """Guess the encoding and the delimiter of CSV files; see `dialect.guess`."""
    with explaining(files[0]):
        guessed = dialect.guess(files[0])
    if guessed.delimiter == dialect.delimiter(files[0], DEFAULT_CSV):
        guessed = replace(guessed, delimiter=None)
    for file in files:
        with explaining(file):
            if guessed.encoding == "utf-8" and dialect.undecodable(file, "utf-8"):
                guessed = replace(guessed, encoding="cp1252")
    return guessed


def _has_decimal_commas(table: pa.Table) -> bool:
    """Return whether more columns hold numbers with decimal commas than with points."""
    texts = [_texts(column) for column in table.columns]
    commas, points = (sum(as_numbers(t, d).notna().all() for t in texts) for d in ",.")
    return bool(commas > points)


def _role(name: str, column: pa.ChunkedArray, decimal: str) -> Role:
    texts, rows = _texts(column), len(column)
    distinct = texts.nunique()
    missing = 1 - len(texts) / rows
    numbers = as_numbers(texts, decimal)
    reason = None
    if not name or name in PREDICTED:
        reason = "has no name" if not name else "has the name of a column of the predictions"
    elif missing > MOSTLY_MISSING:
        reason = f"{missing:.0%} of its values are missing"
    elif distinct <= 1:
        reason = "constant"
    elif numbers.notna().all():
        whole = (numbers % 1 == 0).all()
        if not (whole and distinct == rows and re.search(KEY_NAME, name)):
            return Role(name, NUMERIC, "numbers")
        reason = "an identifier: a different value in each row"
    elif texts.str.match(DATE).all():
        reason = "a date"
    elif distinct == len(texts):
        reason = "an identifier: a different value in each row"
    elif distinct > MOST_CATEGORIES or distinct > rows / 3:
        reason = f"too many categories: {distinct}"
    if reason is None:
        return Role(name, CATEGORICAL, f"{distinct} categories")
    return Role(name, LEFT_OUT, reason)


def _is_key(name: str, column: pa.ChunkedArray) -> bool:
    named = name not in PREDICTED and (re.search(KEY_NAME, name) or name == ROW)
    return bool(named) and _texts(column).nunique() == len(column)


def _texts(column: pa.ChunkedArray) -> pd.Series:
    """Return the values that are not missing, as text."""
    return as_text(column.to_pandas()).dropna()


def _inside(source: str) -> str:
    """Return the table's path in the project; copy it to data/raw if it is elsewhere."""
    if source.startswith("s3://") or not Path(source).exists():  # a glob
        return source
    path, root = Path(source).resolve(), Path.cwd()
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    copy = Path("data/raw") / path.name
    if copy.exists():
        raise SettingsError(f"{copy} exists; remove it, or name it instead of {source}")
    with replacing(copy) as partial:
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, partial)
    return copy.as_posix()


def _write(
    params: Path, roles: list[Role], table: pa.Table, place: str, options: Csv, name: str
) -> None:
    """Change the settings of the table and the names; keep all others, and comments."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 100, True
    yaml.representer.add_representer(
        type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    settings = yaml.load(params)
    columns: dict[str, list[str]] = {kind: [] for kind in (KEY, TARGET, NUMERIC, CATEGORICAL)}
    for role in roles:
        columns.setdefault(role.role, []).append(role.column)
    data = settings["data"]
    data.pop("csv", None)
    written = {
        name: DoubleQuotedScalarString(value)
        for name, value in asdict(options).items()
        if value != getattr(DEFAULT_CSV, name)
    }
    if written:
        data.insert([*data].index("path") + 1, "csv", CommentedMap(written))
        data["csv"].fa.set_flow_style()
    data["path"], data["key"] = place, next(iter(columns[KEY]), None)
    data["target"] = columns[TARGET][0]
    data.yaml_add_eol_comment("column to predict", "target")
    for role_name in (CATEGORICAL, NUMERIC):
        data[role_name][:] = columns[role_name]
    used = [*columns[TARGET], *columns[NUMERIC], *columns[CATEGORICAL]]
    missing = table.select(used).to_pandas().isna().any(axis=1).mean()
    settings["prepare"]["missing"] = "impute" if missing > MUCH_MISSING else "drop"
    settings["register"]["model"] = name
    settings["register"]["tags"]["data"] = name
    settings["predict"]["output"] = f"predictions/{name}.csv"
    settings["mlflow"]["experiment"] = name
    with replacing(params) as partial:
        yaml.dump(settings, partial)

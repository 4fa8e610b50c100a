"""The settings in ``params.yaml``: their types, limits and meanings."""

import re
from collections import Counter
from dataclasses import field
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    model_validator,
)
from pydantic.dataclasses import dataclass

from ridgeline.config.csv_options import DEFAULT_CSV, STRICT, Csv

Text = Annotated[str, Strict(), Field(min_length=1)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Whole = Annotated[int, Strict()]


def _model_name(name: str) -> str:
    if set(name) & set("/:@?'\"") or name in (".", ".."):
        raise ValueError("it should not be . or .. or contain / : @ ? or quotes")
    return name


def _level(level: float) -> float:
    if level not in [percent / 100 for percent in range(1, 100)]:
        raise ValueError("it should be one of 0.01, 0.02, up to 0.99")
    return level


def _alias(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z][\w-]*", name) or re.fullmatch(r"v\d+|latest", name):
        raise ValueError("it should be candidate or an alias such as champion")
    return name


def _regressor(path: str) -> str:
    if not re.fullmatch(r"sklearn(\.[a-z]\w*)+\.[A-Z]\w*", path):
        raise ValueError(
            "it should be the import path of a scikit-learn regressor, such as "
            "sklearn.linear_model.Ridge"
        )
    return path


def _predictions(path: str) -> str:
    # DVC removes a stage's outputs before it runs, so they must not be in a folder of other files
    place = PurePosixPath(path)
    inside = (
        place.parts[:1] == ("predictions",) and ".." not in place.parts and len(place.parts) > 1
    )
    if not inside or place.suffix not in ("", ".csv"):
        raise ValueError("it should be a .csv file, or a folder for Parquet, in predictions/")
    return path


def _tag_keys(tags: dict[str, str]) -> dict[str, str]:
    wrong = [key for key in tags if re.search(r"[^\w.\-: /]", key)]
    if wrong:
        raise ValueError(f"tag {wrong[0]!r} should have only letters, digits, spaces and _ - . : /")
    reserved = [key for key in tags if key.startswith(RESERVED)]
    if reserved:
        raise ValueError(f"tag {reserved[0]!r} should not begin with {' or '.join(RESERVED)}")
    return tags


# tags that the pipeline sets
RESERVED = ("dvc.", "gate.", "git.", "interval.", "mlflow.", "validation.")
# pyarrow's default for CSV
MISSING_VALUES = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip
ROW = "row"  # the column of row numbers, if there is no key


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """The path of the table and the roles of its columns."""

    path: Text
    """A CSV or Parquet file, a folder or a glob of them; in S3 if it begins with ``s3://``."""
    csv: Csv = DEFAULT_CSV
    """How CSV files are written; may be left out."""
    key: Text | None
    """The column that identifies rows and decides their split; null to number the rows."""
    target: Text
    """The column to predict."""
    categorical: tuple[Text, ...]
    """The columns of text to predict from."""
    numeric: tuple[Text, ...]
    """The columns of numbers to predict from."""
    missing_values: tuple[Annotated[str, Strict()], ...] = MISSING_VALUES
    """The texts that mean "missing" in a CSV."""

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        named = Counter([self.key_column, self.target, *self.categorical, *self.numeric])
        twice = [name for name, times in named.items() if times > 1]
        if twice:
            raise ValueError(
                f"column {twice[0]!r} is named twice in key, target, categorical and numeric; name "
                "each column once"
                + (f" (with key: null, {ROW!r} holds the rows' numbers)" if not self.key else "")
            )
        if self.key_column in PREDICTED:
            raise ValueError(
                f"key {self.key_column!r} is also a column of the predictions; rename it in the "
                "table"
            )
        if not self.features:
            raise ValueError(
                "categorical and numeric are both empty; name at least one column to predict from"
            )
        return self

    @property
    def key_column(self) -> str:
        """The column that identifies rows: `key`, or if that is null the one of their numbers."""
        return self.key or ROW

    @property
    def features(self) -> tuple[str, ...]:
        """The columns a model takes: the numeric ones, then the categorical ones."""
        return self.numeric + self.categorical


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Prepare:
    """How rows are split, and how missing values are handled."""

    validation: Annotated[Positive, Field(lt=1)]
    """The fraction of the rows that decides which model is champion."""
    test: Annotated[Positive, Field(lt=1)]
    """The fraction of the rows that is used only to report metrics."""
    seed: Whole
    """Another number gives another split."""
    missing: Literal["drop", "impute"]
    """What happens to rows with a missing value; without a target they are always dropped."""

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} and test {self.test} leave no rows to train on; "
                "their sum must be below 1"
            )
        return self


def _alphas(value: object) -> object:
    """Replace the text ``logspace(start, stop, num)`` by its numbers; leave other values."""
    if not isinstance(value, str):
        return value
    number = r"\s*([+-]?[\d.]+(?:e[+-]?\d+)?)\s*"
    found = re.fullmatch(rf"logspace\({number},{number},\s*(\d+)\s*\)", value.strip())
    try:
        start, stop, num = float(found[1]), float(found[2]), int(found[3])  # type: ignore[index]
    except (TypeError, ValueError):  # no match, or such as 1.2.3
        num = 0
    if num < 1 or max(abs(start), abs(stop)) > LARGEST_EXPONENT:
        raise ValueError(
            "it should be a list of numbers, or such as logspace(-3, 1, 30): 30 powers of ten from "
            f"10**-3 to 10**1 (exponents of at most {LARGEST_EXPONENT}, at least one number)"
        )
    return logspace(start, stop, num)


def logspace(start: float, stop: float, num: int) -> tuple[float, ...]:
    """Return powers of ten with evenly spaced exponents, as ``numpy.logspace`` does.

    They are computed by the C library's ``pow``: the same bits on every CPU.

    Examples
    --------
    >>> logspace(-1, 1, 3)
    (0.1, 1.0, 10.0)
    """
    step = (stop - start) / max(num - 1, 1)
    exponents = [*(start + i * step for i in range(num - 1)), stop if num > 1 else start]
    return tuple(10.0**exponent for exponent in exponents)


LARGEST_EXPONENT = 300
PREDICTED = ("prediction", "lower", "upper", "actual", "residual", "reason")
Alphas = Annotated[
    tuple[Positive, ...],
    Field(min_length=1),
    BeforeValidator(_alphas, json_schema_input_type=tuple[Positive, ...] | str),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Train:
    """The model, and the penalties that leave-one-out validation chooses from."""

    model: Annotated[Text, AfterValidator(_regressor)] = "sklearn.linear_model.RidgeCV"
    """The import path of a scikit-learn regressor; see docs/models.md."""
    params: dict[Text, Any] = field(default_factory=dict)
    """Its constructor's arguments; RidgeCV has only `alphas`."""
    alphas: Alphas
    """The penalties to choose from, for RidgeCV: a list, or ``logspace(start, stop, num)``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gate:
    """What a champion must reach on the validation rows; null disables a criterion."""

    max_rmse: Positive | None = None
    """The largest RMSE, in the target's unit."""
    min_r2: Number | None = None
    """The smallest R²."""
    min_improvement: Annotated[Number, Field(ge=0)] = 0.0
    """How much lower than the champion's the RMSE must be, in the target's unit."""
    min_probability: Annotated[Positive, Field(lt=1)] | None = None
    """The smallest probability that the RMSE is lower than the champion's (paired bootstrap)."""
    must_beat_baseline: Annotated[bool, Strict()] = True
    """Whether the RMSE must be below that of predicting the training mean."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Register:
    """The registered model's name, tags and gate."""

    model: Annotated[Text, AfterValidator(_model_name)]
    """The name of the registered model."""
    gate: Gate
    """What a champion must reach on the validation rows."""
    tags: Annotated[dict[Text, Text], AfterValidator(_tag_keys)]
    """Tags of each version."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Predict:
    """The model, the table to predict, the predictions' path, and the level of their intervals."""

    model: Annotated[Text, AfterValidator(_alias)] = "candidate"
    """The version: ``candidate`` (the one just registered), or an alias such as champion."""
    input: Text
    """The table to predict, with the raw columns; the target may be absent."""
    output: Annotated[Text, AfterValidator(_predictions)]
    """A .csv file in predictions/, or a folder there for Parquet in parts."""
    level: Annotated[Number, AfterValidator(_level)] = 0.9
    """The level of the prediction intervals, from 0.01 to 0.99."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MLflow:
    """The MLflow experiment of the runs; ``MLFLOW_TRACKING_URI`` sets the server."""

    experiment: Text
    """The MLflow experiment, created if missing."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Settings:
    """All of ``params.yaml``."""

    data: Data
    prepare: Prepare
    train: Train
    register: Register
    predict: Predict
    mlflow: MLflow

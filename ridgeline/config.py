"""``params.yaml`` as typed, frozen settings. What it may not say is an error that says so."""

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ridgeline.errors import SettingsError

Text = Annotated[str, Strict(), Field(min_length=1)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Whole = Annotated[int, Strict()]
Exponent = Annotated[Number, Field(ge=-300, le=300)]


def _model_name(name: str) -> str:
    if set(name) & set("/:'\""):
        raise ValueError("it should have neither / nor : nor quotes")
    return name


def _alias(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z][\w-]*", name) or re.fullmatch(r"v\d+|latest", name):
        raise ValueError("it should be candidate, or an alias such as champion")
    return name


def _predictions(path: str) -> str:
    # DVC removes a stage's outputs before it runs: let it be nothing that anyone wants to keep
    place = PurePosixPath(path)
    inside = place.parts[0] == "predictions" and ".." not in place.parts and len(place.parts) > 1
    if not inside or place.suffix not in ("", ".csv"):
        raise ValueError("it should be a .csv file, or a folder for Parquet, in predictions/")
    return path


def _tag_keys(tags: dict[str, str]) -> dict[str, str]:
    wrong = [key for key in tags if re.search(r"[^\w.\-: /]", key)]
    if wrong:
        raise ValueError(f"tag {wrong[0]!r} should have only letters, digits and _ - . : / in it")
    return tags


# what pyarrow takes as missing in a CSV
MISSING_VALUES = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """Where the table is and what its columns mean."""

    path: Text
    key: Text
    target: Text
    categorical: tuple[Text, ...]
    numeric: tuple[Text, ...]
    missing_values: tuple[Annotated[str, Strict()], ...] = MISSING_VALUES

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        named = Counter([self.key, self.target, *self.categorical, *self.numeric])
        twice = [name for name, times in named.items() if times > 1]
        if twice:
            raise ValueError(
                f"column {twice[0]!r} is named twice among key, target, categorical and "
                "numeric; name each column once"
            )
        if self.key in PREDICTED:
            raise ValueError(
                f"key {self.key!r} is a column that predictions have; rename it in the table"
            )
        if not self.features:
            raise ValueError(
                "categorical and numeric are both empty; name at least one column to predict from"
            )
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """The columns a model takes: the numeric ones, then the categorical ones."""
        return self.numeric + self.categorical


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Prepare:
    """How rows are split and what becomes of those with a missing value."""

    validation: Annotated[Positive, Field(lt=1)]
    test: Annotated[Positive, Field(lt=1)]
    seed: Whole
    missing: Literal["drop", "impute"]

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} and test {self.test} leave no rows to train on; "
                "their sum must be below 1"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LogSpace:
    """Powers of ten, evenly spaced in the exponent, as ``numpy.logspace`` names them."""

    logspace: tuple[Exponent, Exponent, Annotated[Whole, Field(ge=1)]]

    @property
    def values(self) -> tuple[float, ...]:
        """The numbers themselves, by the C library's ``pow``: the same bits on every CPU."""
        start, stop, num = self.logspace
        step = (stop - start) / max(num - 1, 1)
        exponents = [*(start + i * step for i in range(num - 1)), stop if num > 1 else start]
        return tuple(10.0**exponent for exponent in exponents)


PREDICTED = ("prediction", "actual", "residual")
LIST, LOGSPACE = "<list>", "<logspace>"  # pydantic puts them into an error's place
Alphas = Annotated[
    Annotated[tuple[Positive, ...], Field(min_length=1), Tag(LIST)]
    | Annotated[LogSpace, Tag(LOGSPACE)],
    Discriminator(lambda value: LOGSPACE if isinstance(value, dict) else LIST),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Train:
    """The penalties that leave-one-out validation chooses from."""

    alphas: Alphas

    @property
    def alpha_values(self) -> tuple[float, ...]:
        """Every penalty to try, in the order given."""
        return self.alphas.values if isinstance(self.alphas, LogSpace) else self.alphas


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gate:
    """What a champion must reach on the validation rows; null asks for nothing."""

    max_rmse: Positive | None = None
    min_r2: Number | None = None
    min_improvement: Annotated[Number, Field(ge=0)] = 0.0
    must_beat_baseline: Annotated[bool, Strict()] = True


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Register:
    """The registered model's name, tags and gate."""

    model: Annotated[Text, AfterValidator(_model_name)]
    gate: Gate
    tags: Annotated[dict[Text, Text], AfterValidator(_tag_keys)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Predict:
    """The model to predict with, the table to predict, and where the predictions go."""

    model: Annotated[Text, AfterValidator(_alias)] = "candidate"
    input: Text
    output: Annotated[Text, AfterValidator(_predictions)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MLflow:
    """Where in MLflow the runs go (which server: ``MLFLOW_TRACKING_URI``)."""

    experiment: Text


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Settings:
    """All of ``params.yaml``."""

    data: Data
    prepare: Prepare
    train: Train
    register: Register
    predict: Predict
    mlflow: MLflow


def load(path: Path = Path("params.yaml")) -> Settings:
    """Read the settings.

    Parameters
    ----------
    path : Path
        A YAML file, parsed as DVC parses it (so ``1e-3`` is a number to both).

    Returns
    -------
    Settings
        Typed and frozen.

    Raises
    ------
    SettingsError
        When the file can't be read, or says something that is not allowed: a line for each
        key, with the value and what is allowed.
    """
    values = read_yaml(path)
    try:
        return TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        wrong = error.errors()
        inside = {e["loc"][:-1] for e in wrong}  # a list of wrong items is not empty as well
        told = [e for e in wrong if e["type"] != "too_short" or e["loc"] not in inside]
        raise SettingsError("\n".join(f"{path}: {_sentence(e)}" for e in told)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping, by the parser that DVC uses.

    Raises
    ------
    SettingsError
        When the file is absent, not YAML, or holds something else than a mapping.
    """
    try:
        values = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise SettingsError(f"{path} is not here; run this in the project's root") from None
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).partition("To suppress")[0].split())
        raise SettingsError(f"{path} is not valid YAML; fix it: {reason}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no settings; it must be a mapping of sections")
    return values


def _sentence(error: Any) -> str:
    """Say one of pydantic's errors with its key, its value and what is allowed."""
    place = [part for part in error["loc"] if part not in (LIST, LOGSPACE)]
    key = ".".join(map(str, place))
    match error["type"]:
        case "unexpected_keyword_argument":
            return f"{key} is not a setting; allowed here: {', '.join(_siblings(place))}"
        case "missing" if isinstance(place[-1], int):
            return f"{'.'.join(map(str, place[:-1]))} is too short; it should be [start, stop, num]"
        case "missing":
            return f"{key} is missing; add it"
        case "value_error" if isinstance(error["input"], dict):
            return f"{key}: {error['ctx']['error']}"
        case "too_short":
            return f"{key} is {error['input']!r}; it should hold at least one"
    allowed = error["msg"].partition(" should ")[2].replace("tuple", "list")
    allowed = allowed.partition(" or an instance of")[0].replace("dictionary", "mapping")
    return f"{key} is {error['input']!r}; it should {allowed or error['msg']}"


def _siblings(place: list[str | int]) -> list[str]:
    """Name the settings that may stand at `place`, whose last part is none of them."""
    if place[:2] == ["train", "alphas"]:
        section: Any = LogSpace
    else:
        section = Settings
        for name in place[:-1]:
            section = section.__dataclass_fields__[name].type
    return [field.name for field in fields(section)]

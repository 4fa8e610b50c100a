"""Read ``params.yaml``; a value that is not allowed is an error that says what is."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ridgeline.config.settings import Settings
from ridgeline.errors import SettingsError


def load(path: Path = Path("params.yaml")) -> Settings:
    """Read the settings.

    Parameters
    ----------
    path : Path
        A YAML file, parsed as by DVC (so ``1e-3`` is a number for both).

    Returns
    -------
    Settings
        Typed and frozen.

    Raises
    ------
    SettingsError
        If the file can't be read, or has values that are not allowed: one line per key, with the
        value and what is allowed.
    """
    try:
        return TypeAdapter(Settings).validate_python(read_yaml(path))
    except ValidationError as error:
        errors = error.errors()
        parents = {e["loc"][:-1] for e in errors}  # a list of wrong items is also reported as empty
        shown = [e for e in errors if e["type"] != "too_short" or e["loc"] not in parents]
        raise SettingsError("\n".join(f"{path}: {_sentence(e)}" for e in shown)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping, with the parser that DVC uses.

    Raises
    ------
    SettingsError
        If the file is missing, is not YAML, or does not contain a mapping.
    """
    try:
        values = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing; run this in the project's root") from None
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).partition("To suppress")[0].split())
        raise SettingsError(f"{path} is not valid YAML; fix it: {reason}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} contains no settings; it must be a mapping of sections")
    return values


def _sentence(error: Any) -> str:
    """Return one of pydantic's errors as a sentence: the key, its value and what is allowed."""
    place = [*error["loc"]]
    key = ".".join(map(str, place))
    match error["type"]:
        case "unexpected_keyword_argument":
            return f"{key} is not a setting; allowed here: {', '.join(_siblings(place))}"
        case "missing":
            return f"{key} is missing; add it"
        case "value_error" if isinstance(error["input"], dict):
            return f"{key}: {error['ctx']['error']}"
        case "too_short":
            return f"{key} is {error['input']!r}; it should have at least one item"
    allowed = error["msg"].partition(" should ")[2].replace("tuple", "list")
    allowed = allowed.partition(" or an instance of")[0].replace("dictionary", "mapping")
    return f"{key} is {error['input']!r}; it should {allowed or error['msg']}"


def _siblings(place: list[str | int]) -> list[str]:
    """Return the settings that are allowed at `place`, whose last part is not one of them."""
    section: Any = Settings
    for name in place[:-1]:
        section = section.__dataclass_fields__[name].type
    return [field.name for field in fields(section)]

"""The settings in ``data.csv``: how CSV files are written."""

import codecs
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, Strict, model_validator
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _delimiter(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in '"\r\n':
        raise ValueError("it should be one ASCII character, and not a quote or a line break")
    return text


def _encoding(name: str) -> str:
    try:
        "".encode(name)  # the codecs that are not of text are unknown to it
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise ValueError(
            "it should be an encoding that Python knows, such as utf-8, cp1252 or utf-16"
        ) from None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Csv:
    """How CSV files are written."""

    delimiter: Annotated[str, Strict(), AfterValidator(_delimiter)] | None = Field(
        default=None, examples=[";"]
    )
    """The character between cells; null for a tab in .tsv files and a comma in others."""
    decimal: Literal[".", ","] = Field(default=".", examples=[","])
    """The character before a number's decimals."""
    encoding: Annotated[str, Strict(), AfterValidator(_encoding)] = Field(
        default="utf-8", examples=["cp1252"]
    )
    """The name that Python has for the encoding; gzip is recognized by the file's name."""

    @model_validator(mode="after")
    def _decimal_is_no_delimiter(self) -> Self:
        if self.decimal == (self.delimiter or ","):
            raise ValueError(
                f"decimal {self.decimal!r} is also the delimiter; set delimiter to another "
                "character, such as ';'"
            )
        return self


DEFAULT_CSV = Csv()

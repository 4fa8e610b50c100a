"""The reference of the settings, for editors and readers: ``python -m ridgeline.reference``.

It writes ``params.schema.json``, which editors use to complete and check params.yaml, and
``docs/settings.md``.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ridgeline.config import Settings, read_yaml

SCHEMA, PAGE = Path("params.schema.json"), Path("docs/settings.md")
HEAD = """\
# Settings

All settings in [params.yaml](../params.yaml); set one for a single experiment with
`dvc exp run -S section.name=value`. Written from the code by `make docs`.
"""


def schema() -> str:
    """Return the JSON schema of params.yaml."""
    text = json.dumps(TypeAdapter(Settings).json_schema(), indent=2, ensure_ascii=False)
    return text + "\n"


def page(params: dict[str, Any]) -> str:
    """Return a table of each section's settings, with their values in `params` as examples."""
    found = json.loads(schema())
    sections = {name: found["$defs"][_name(entry)] for name, entry in found["properties"].items()}
    text = HEAD
    for name, section in sections.items():
        text += f"\n## {name}\n\n{_plain(section)}\n\n"
        text += (
            "| setting | meaning | type | default | example |\n| --- | --- | --- | --- | --- |\n"
        )
        text += "".join(_rows(f"{name}.", section, params[name], found["$defs"]))
    return text


def _rows(
    prefix: str, section: dict[str, Any], params: dict[str, Any], known: dict[str, Any]
) -> list[str]:
    rows = []
    for name, entry in section["properties"].items():
        if "$ref" in entry:
            rows += _rows(f"{prefix}{name}.", known[_name(entry)], params.get(name, {}), known)
            continue
        default = _shown(entry["default"]) if "default" in entry else ""
        examples = entry.get("examples", [None])
        example = _shown(params.get(name, examples[0]))
        rows.append(
            f"| `{prefix}{name}` | {_plain(entry)} | {_type(entry)} | {default} | {example} |\n"
        )
    return rows


def _plain(entry: dict[str, Any]) -> str:
    return str(entry["description"]).replace("``", "`")


def _name(entry: dict[str, Any]) -> str:
    return str(entry["$ref"]).rpartition("/")[2]


def _type(entry: dict[str, Any]) -> str:
    if "anyOf" in entry:
        return " or ".join(map(_type, entry["anyOf"]))
    if "enum" in entry:
        return " or ".join(f"`{value}`" for value in entry["enum"])
    if entry["type"] == "array":
        return f"list of {_type(entry['items'])}"
    names = {"object": "mapping", "string": "text", "null": "null", "integer": "whole number"}
    limits = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below"}
    shown = [f"{word} {entry[limit]:g}" for limit, word in limits.items() if limit in entry]
    return " ".join([names.get(entry["type"], entry["type"]), ", ".join(shown)]).strip()


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
    PAGE.write_text(page(read_yaml(Path("params.yaml"))), encoding="utf-8")

"""The reference of the settings is current, and its schema agrees with what is accepted."""

import json

import pytest
from project import ROOT

from ridgeline import config, reference

PARAMS = config.read_yaml(ROOT / "params.yaml")


def test_the_schema_is_current() -> None:
    assert (ROOT / reference.SCHEMA).read_text(encoding="utf-8") == reference.schema(), "make docs"


def test_the_page_is_current() -> None:
    assert (ROOT / reference.PAGE).read_text(encoding="utf-8") == reference.page(PARAMS), (
        "make docs"
    )


def test_params_yaml_names_the_schema_in_its_first_line() -> None:
    first = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={reference.SCHEMA}"


def test_each_setting_is_explained() -> None:
    page = reference.page(PARAMS)
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == 28
    assert [row for row in rows if not row.split("|")[2].strip()] == []


@pytest.mark.parametrize("alphas", ["logspace(-3, 1, 30)", [0.1, 1]])
def test_the_schema_accepts_both_kinds_of_penalties(alphas: object) -> None:
    kinds = json.loads(reference.schema())["$defs"]["Train"]["properties"]["alphas"]["anyOf"]
    assert ("string" if isinstance(alphas, str) else "array") in [kind["type"] for kind in kinds]

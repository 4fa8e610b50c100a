import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT

from ridgeline import config
from ridgeline.config import Settings, logspace, read_yaml
from ridgeline.errors import SettingsError

PARAMS = {
    "data.path": "data/raw/t.csv",
    "data.key": "id",
    "data.target": "y",
    "data.categorical": "[color]",
    "data.numeric": "[size]",
    "prepare.validation": "0.2",
    "prepare.test": "0.1",
    "prepare.seed": "7",
    "prepare.missing": "drop",
    "train.alphas": "[0.1, 1]",
    "register.model": "Reg",
    "register.gate": "{max_rmse: null, min_r2: 0.0}",
    "register.tags": "{team: blue}",
    "predict.input": "data/prepared/test",
    "predict.output": "predictions/t.csv",
    "mlflow.experiment": "Exp",
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(changes: dict[str, str | None] | None = None) -> Settings:
    """Load `PARAMS` with other YAML for some keys; None leaves the key out."""
    sections: dict[str, list[str]] = {}
    for key, value in (PARAMS | (changes or {})).items():
        section, _, name = key.partition(".")
        lines = sections.setdefault(section, [])
        if value is not None:
            lines.append(f"  {name}: {value}")
    text = "".join(f"{s}:\n" + "".join(f"{x}\n" for x in lines) for s, lines in sections.items())
    Path("params.yaml").write_text(text, encoding="utf-8")
    return config.load()


def mistakes(changes: dict[str, str | None]) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load(changes)
    return str(error.value).split("\n")


def test_the_real_params_load() -> None:
    settings = config.load(ROOT / "params.yaml")
    assert (settings.data.key, settings.data.target) == ("case", "taill")
    assert settings.data.categorical == ("site", "Pop", "sex")


def test_the_real_params_have_30_alphas_from_a_thousandth_to_10() -> None:
    alphas = config.load(ROOT / "params.yaml").train.alphas
    assert (len(alphas), alphas[0], alphas[-1]) == (30, 0.001, 10.0)


def test_the_real_alphas_are_ascending() -> None:
    alphas = config.load(ROOT / "params.yaml").train.alphas
    assert list(alphas) == sorted(set(alphas))


def test_params_yaml_in_the_current_folder_is_loaded_unless_told_otherwise() -> None:
    assert load() == config.load(Path("params.yaml"))


def test_features_are_the_numeric_then_the_categorical_columns() -> None:
    changes = {"data.numeric": "[b, a]", "data.categorical": "[d, c]"}
    assert load(changes).data.features == ("b", "a", "d", "c")


@pytest.mark.parametrize("kind", ["categorical", "numeric"])
def test_one_kind_of_feature_is_enough(kind: str) -> None:
    assert len(load({f"data.{kind}": "[]"}).data.features) == 1


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("", "data"),
        ("data", "key"),
        ("prepare", "seed"),
        ("train", "alphas"),
        ("register", "model"),
        ("predict", "input"),
        ("mlflow", "experiment"),
    ],
)
def test_settings_are_frozen(section: str, field: str) -> None:
    settings = load()
    holder = getattr(settings, section) if section else settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(holder, field, "other")


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("data.surplus", "path, csv, key, target, categorical, numeric, missing_values"),
        ("prepare.surplus", "validation, test, seed, missing"),
        ("train.surplus", "model, params, alphas"),
        ("register.surplus", "model, gate, tags"),
        ("predict.surplus", "model, input, output, level"),
        ("mlflow.surplus", "experiment"),
    ],
)
def test_an_unknown_key_is_named_with_what_is_allowed(key: str, known: str) -> None:
    assert mistakes({key: "1"}) == [f"params.yaml: {key} is not a setting; allowed here: {known}"]


def test_an_unknown_section_is_named_with_what_is_allowed() -> None:
    assert mistakes({"surplus.x": "1"}) == [
        "params.yaml: surplus is not a setting; "
        "allowed here: data, prepare, train, register, predict, mlflow"
    ]


def test_an_unknown_key_of_the_gate_is_named_with_what_is_allowed() -> None:
    assert mistakes({"register.gate": "{max_mae: 1}"}) == [
        "params.yaml: register.gate.max_mae is not a setting; "
        "allowed here: max_rmse, min_r2, min_improvement, min_probability, must_beat_baseline"
    ]


@pytest.mark.parametrize("key", [k for k in PARAMS if not k.startswith(("train", "mlflow"))])
def test_a_missing_key_is_named(key: str) -> None:
    assert mistakes({key: None}) == [f"params.yaml: {key} is missing; add it"]


def test_a_missing_section_is_named() -> None:
    load()
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.partition("mlflow:")[0], encoding="utf-8")
    with pytest.raises(SettingsError, match=r"^params\.yaml: mlflow is missing; add it$"):
        config.load()


def test_a_misspelt_key_is_both_missing_and_unknown() -> None:
    lines = mistakes({"prepare.seed": None, "prepare.sed": "18"})
    assert [line.split(" ")[1] for line in lines] == ["prepare.seed", "prepare.sed"]


def test_every_mistake_has_a_line_of_its_own() -> None:
    changes = {"data.path": "1", "prepare.seed": "x", "train.alphas": "[]", "mlflow.x": "1"}
    lines = mistakes(changes)
    assert [line.split(" ")[1] for line in lines] == [
        "data.path",
        "prepare.seed",
        "train.alphas",
        "mlflow.x",
    ]


@pytest.mark.parametrize(
    ("key", "value", "shown", "allowed"),
    [
        ("data.path", "12", "12", "string"),
        ("data.path", "''", "''", "at least 1 character"),
        ("data.key", "5", "5", "string"),
        ("data.key", "true", "True", "string"),
        ("data.categorical", "color", "'color'", "list"),
        ("data.categorical", "null", "None", "list"),
        ("prepare.validation", "'0.15'", "'0.15'", "number"),
        ("prepare.validation", "true", "True", "number"),
        ("prepare.validation", "0", "0", "greater than 0"),
        ("prepare.validation", "-0.1", "-0.1", "greater than 0"),
        ("prepare.validation", "1", "1", "less than 1"),
        ("prepare.validation", ".nan", "nan", "finite number"),
        ("prepare.test", "0.0", "0.0", "greater than 0"),
        ("prepare.test", "1.5", "1.5", "less than 1"),
        ("prepare.test", ".inf", "inf", "finite number"),
        ("prepare.seed", "'18'", "'18'", "integer"),
        ("prepare.seed", "true", "True", "integer"),
        ("prepare.seed", "1.5", "1.5", "integer"),
        ("prepare.seed", "null", "None", "integer"),
        ("prepare.missing", "foo", "'foo'", "'drop' or 'impute'"),
        ("prepare.missing", "true", "True", "'drop' or 'impute'"),
        ("train.alphas", "[]", "[]", "at least one"),
        ("train.alphas", "5", "5", "list"),
        ("train.alphas", "'1, 2'", "'1, 2'", "list"),
        ("train.alphas", "{logspace: [-3, 1, 3]}", "{'logspace': [-3, 1, 3]}", "list"),
        *(
            ("train.alphas", f"'{text}'", f"'{text}'", "such as logspace(-3, 1, 30)")
            for text in (
                "logspace(-3, 1)",
                "logspace(-3, 1, 0)",
                "logspace(-3, 1, 2.5)",
                "logspace(-3, 1, x)",
                "logspace(-3, 1.2.3, 4)",
                "logspace(1, 400, 3)",
                "linspace(0, 1, 3)",
            )
        ),
        ("train.alphas", "null", "None", "list"),
        ("register.model", "a/b", "'a/b'", "/"),
        ("register.model", "'a:b'", "'a:b'", ":"),
        ("register.model", "a@b", "'a@b'", "@"),
        ("register.model", "a?", "'a?'", "?"),
        ("register.model", "..", "'..'", ".."),
        ("predict.output", ".", "'.'", "in predictions/"),
        ("register.model", "''", "''", "at least 1 character"),
        ("register.gate", "null", "None", "mapping"),
        ("register.tags", "[a]", "['a']", "mapping"),
        ("predict.model", "''", "''", "at least 1 character"),
        ("predict.model", "3", "3", "string"),
        ("predict.model", "'3'", "'3'", "alias"),
        ("predict.model", "v3", "'v3'", "alias"),
        ("predict.model", "latest", "'latest'", "alias"),
        ("predict.output", "p.txt", "'p.txt'", ".csv"),
        ("predict.output", "p.csv.gz", "'p.csv.gz'", ".csv"),
        ("predict.output", "predictions/p.parquet", "'predictions/p.parquet'", ".csv"),
        ("predict.output", "predictions", "'predictions'", ".csv"),
        ("predict.output", "predictions/../data", "'predictions/../data'", ".csv"),
        ("mlflow.experiment", "''", "''", "at least 1 character"),
        ("predict.level", "1.0", "1.0", "be one of 0.01, 0.02, up to 0.99"),
        ("predict.level", "0", "0", "be one of 0.01, 0.02, up to 0.99"),
        ("predict.level", "0.905", "0.905", "be one of 0.01, 0.02, up to 0.99"),
        ("predict.level", "90", "90", "be one of 0.01, 0.02, up to 0.99"),
        ("predict.level", "'0.9'", "'0.9'", "number"),
        ("data.key", "''", "''", "at least 1 character"),
        ("data.key", "3", "3", "string"),
    ],
)
def test_a_value_that_is_not_allowed_is_shown_with_what_is(
    key: str, value: str, shown: str, allowed: str
) -> None:
    [line] = mistakes({key: value})
    said, _, should = line.partition("; it should ")
    assert said == f"params.yaml: {key} is {shown}"
    assert allowed in should


@pytest.mark.parametrize(
    ("changes", "place", "shown", "allowed"),
    [
        ({"data.numeric": "[size, 1]"}, "data.numeric.1", "1", "string"),
        ({"train.alphas": "[1, 0]"}, "train.alphas.1", "0", "greater than 0"),
        ({"train.alphas": "[1, -2]"}, "train.alphas.1", "-2", "greater than 0"),
        ({"train.alphas": "[1, .inf]"}, "train.alphas.1", "inf", "finite number"),
        ({"train.alphas": "[1, .nan]"}, "train.alphas.1", "nan", "finite number"),
        ({"train.alphas": "[1, a]"}, "train.alphas.1", "'a'", "number"),
        ({"train.alphas": "[1, '2']"}, "train.alphas.1", "'2'", "number"),
        ({"train.alphas": "[1, true]"}, "train.alphas.1", "True", "number"),
        ({"register.gate": "{max_rmse: -1}"}, "register.gate.max_rmse", "-1", "greater than 0"),
        ({"register.gate": "{min_r2: .nan}"}, "register.gate.min_r2", "nan", "finite number"),
        ({"register.gate": "{min_improvement: -1}"}, "register.gate.min_improvement", "-1", "0"),
        *(
            (
                {"register.gate": f"{{min_probability: {value}}}"},
                "register.gate.min_probability",
                shown,
                allowed,
            )
            for value, shown, allowed in [
                ("0", "0", "greater than 0"),
                ("1.0", "1.0", "less than 1"),
                ("95", "95", "less than 1"),
                (".nan", "nan", "finite number"),
                ("90 %", "'90 %'", "valid number"),
            ]
        ),
        (
            {"register.gate": "{must_beat_baseline: 1}"},
            "register.gate.must_beat_baseline",
            "1",
            "boolean",
        ),
        ({"register.tags": "{a: 1}"}, "register.tags.a", "1", "string"),
    ],
)
def test_a_mistake_inside_a_value_is_named_by_its_place(
    changes: dict[str, str | None], place: str, shown: str, allowed: str
) -> None:
    [line] = mistakes(changes)
    said, _, should = line.partition("; it should ")
    assert said == f"params.yaml: {place} is {shown}"
    assert allowed in should


def test_a_single_bad_alpha_is_a_single_mistake() -> None:
    [line] = mistakes({"train.alphas": "[0]"})
    assert line.startswith("params.yaml: train.alphas.0 is 0; it should be greater than 0")


@pytest.mark.parametrize(("validation", "test"), [("0.5", "0.5"), ("0.85", "0.15"), ("0.9", "0.2")])
def test_fractions_that_leave_nothing_to_train_on_are_both_named(
    validation: str, test: str
) -> None:
    [line] = mistakes({"prepare.validation": validation, "prepare.test": test})
    assert line.startswith(f"params.yaml: prepare: validation {validation} and test {test} ")
    assert line.endswith("below 1")


@pytest.mark.parametrize(
    "changes",
    [
        {"data.key": "y"},
        {"data.target": "id"},
        {"data.key": "color"},
        {"data.key": "size"},
        {"data.target": "size"},
        {"data.numeric": "[size, color]"},
        {"data.numeric": "[size, size]"},
        {"data.categorical": "[color, color]"},
    ],
)
def test_a_column_named_twice_is_named(changes: dict[str, str | None]) -> None:
    data = {"data.key": "id", "data.target": "y", "data.numeric": "size", "data.categorical": "c"}
    named = [name for key in data for name in (PARAMS | changes)[key].strip("[]").split(", ")]
    [twice] = {name for name in named if named.count(name) == 2}
    [line] = mistakes(changes)
    assert line.startswith(f"params.yaml: data: column '{twice}' is named twice")


def test_a_table_without_feature_columns_is_refused() -> None:
    [line] = mistakes({"data.categorical": "[]", "data.numeric": "[]"})
    assert line.startswith("params.yaml: data: categorical and numeric are both empty")


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", "+1e-3", "0.001", ".001"])
def test_a_number_may_be_written_as_yaml_1_2_allows(text: str) -> None:
    assert load({"train.alphas": f"[{text}]"}).train.alphas == (0.001,)


def test_a_whole_number_is_a_number() -> None:
    [alpha] = load({"train.alphas": "[3]"}).train.alphas
    assert isinstance(alpha, float)


def test_no_is_text_as_in_yaml_1_2() -> None:
    assert load({"register.model": "no"}).register.model == "no"


def test_alphas_keep_the_order_given() -> None:
    assert load({"train.alphas": "[10, 0.1, 1]"}).train.alphas == (10.0, 0.1, 1.0)


@pytest.mark.parametrize("seed", ["-5", "0", "123456789012345678901234567890"])
def test_any_integer_is_a_seed(seed: str) -> None:
    assert load({"prepare.seed": seed}).prepare.seed == int(seed)


def test_a_gate_may_ask_for_nothing() -> None:
    gate = load({"register.gate": "{}"}).register.gate
    assert (gate.max_rmse, gate.min_r2, gate.min_probability) == (None, None, None)
    assert gate.min_improvement == 0


def test_a_gate_that_says_nothing_of_the_baseline_asks_to_beat_it() -> None:
    assert load({"register.gate": "{}"}).register.gate.must_beat_baseline


def test_predict_takes_the_candidate_unless_told_otherwise() -> None:
    assert load().predict.model == "candidate"
    assert load({"predict.model": "champion"}).predict.model == "champion"


def test_tags_may_be_empty() -> None:
    assert load({"register.tags": "{}"}).register.tags == {}


@pytest.mark.parametrize(
    ("first", "last", "count"), [(-3, 1, 30), (-6, 6, 13), (2, -2, 5), (0, 0, 3), (-3, 1, 1)]
)
def test_logspace_is_numpys_logspace(first: int, last: int, count: int) -> None:
    changes = {"train.alphas": f"logspace({first}, {last}, {count})"}
    expected = np.logspace(first, last, count)
    np.testing.assert_allclose(load(changes).train.alphas, expected, rtol=1e-15, atol=0)


exponents = st.floats(-300, 300)


@given(exponents, exponents, st.integers(1, 40))
def test_logspace_is_numpys_logspace_but_for_the_exponents_rounding(
    first: float, last: float, count: int
) -> None:
    values = logspace(first, last, count)
    rounding = 4 * np.finfo(float).eps * math.log(10) * max(1, abs(first), abs(last))
    np.testing.assert_allclose(values, np.logspace(first, last, count), rtol=rounding, atol=0)


@given(exponents, exponents, st.integers(1, 40))
def test_logspace_gives_positive_finite_numbers(first: float, last: float, count: int) -> None:
    values = logspace(first, last, count)
    assert len(values) == count
    assert all(0 < value < math.inf for value in values)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"seed: [18\n", "line 2"),
        (b"\tseed: 18\n", "line 1"),
        (b"a: 1\nb: *nothing\n", "nothing"),
        (b"seed: 18\nseed: 19\n", 'duplicate key "seed"'),
        (b"a: 1\n---\nb: 2\n", "another document"),
        (b"seed: !!python/object:os.system 18\n", "line 1"),
        (b"path: M\xfcnchen.csv\n", "position 7"),
    ],
    ids=["unclosed", "tab", "alias", "duplicate key", "two documents", "tag", "not UTF-8"],
)
def test_what_is_no_yaml_is_said_on_one_line_with_its_place(content: bytes, reason: str) -> None:
    Path("params.yaml").write_bytes(content)
    with pytest.raises(SettingsError) as error:
        config.load()
    [line] = str(error.value).split("\n")
    assert line.startswith("params.yaml is not valid YAML; fix it: ")
    assert reason in line


@pytest.mark.parametrize("content", ["", "# nothing\n", "- a\n", "text\n", "3\n", "null\n"])
def test_a_file_that_holds_no_mapping_is_refused(content: str) -> None:
    Path("params.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"^params\.yaml contains no settings; it must be a"):
        config.load()


def test_an_absent_file_is_named_with_where_to_run() -> None:
    with pytest.raises(SettingsError, match=r"^params\.yaml is missing; run this in the project"):
        config.load()


def test_a_folder_in_the_files_place_is_a_settings_error() -> None:
    Path("params.yaml").mkdir()
    with pytest.raises(SettingsError, match=r"params\.yaml"):
        config.load()


@pytest.mark.parametrize(
    ("text", "value"), [("a: 'é'", {"a": "é"}), ("{a: {b: [1, x]}}", {"a": {"b": [1, "x"]}})]
)
def test_yaml_is_read_as_plain_values(text: str, value: dict[str, Any]) -> None:
    Path("f.yaml").write_text(text, encoding="utf-8")
    assert read_yaml(Path("f.yaml")) == value


def test_a_tag_that_the_pipeline_sets_is_refused() -> None:
    [line] = mistakes({"register.tags": "{gate.decision: withdrawn}"})
    assert "register.tags: tag 'gate.decision' should not begin with dvc. or gate." in line


def test_without_a_key_the_column_of_row_numbers_is_named_once() -> None:
    assert load({"data.key": "null"}).data.key_column == "row"
    [line] = mistakes({"data.key": "null", "data.numeric": "[row]"})
    assert line.endswith("name each column once (with key: null, 'row' holds the rows' numbers)")

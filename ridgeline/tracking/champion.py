"""Which version is champion: the best of those that passed the gate, on the same validation rows.

The protocol, in which any number of processes may take part at the same time without a lock:

1. A candidate is compared with the champion on the candidate's validation rows. Its score, the
   rows' md5, the comparison and the decision are set as tags on its version, the decision last.
2. `crown` gives the alias champion to the version with the lowest RMSE among those with the
   decision "champion" on these rows; of equal ones to the newest. It repeats until it finds
   nothing to change, so whoever writes last has seen every tag, and all agree.
3. Scores on different rows can't be compared. If another process has set a champion on other rows
   meanwhile, `crown` changes nothing, and the candidate is compared with that champion first.

Without `min_improvement` and `min_probability`, the champion does not depend on the order in which
versions are registered. With them it does, because each version is compared with the champion at
that time; all processes still agree on the best of those that passed.

The previous champion gets the alias previous. A promotion by hand withdraws the champion so far,
which can become champion again only by hand; others can when they are submitted again.
"""

from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
from mlflow.entities.model_registry import ModelVersion

from ridgeline.config import Data, Gate, Settings
from ridgeline.errors import ModelError
from ridgeline.files import METRICS, MODEL, PREPARED, read_json
from ridgeline.model import scoring
from ridgeline.tables import engine, progress, reading
from ridgeline.tracking import gate, models, skops_format
from ridgeline.tracking.records import (
    COMPARISON,
    DECISION,
    REASON,
    RIVAL,
    RIVAL_RMSE,
    RMSE,
    ROWS,
    Values,
)
from ridgeline.tracking.registry import CHALLENGER, Registry, number

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    Pair = tuple[Pipeline, Pipeline]  # candidate and champion

CHAMPION, PREVIOUS, WITHDRAWN = "champion", "previous", "withdrawn"
SCORES, VALIDATION = METRICS / "train.json", PREPARED / "validation"


def judge(
    registry: Registry, version: ModelVersion, rows: str, settings: Settings, folder: Path
) -> None:
    """Compare a version with the champion, record the decision, and crown the best version.

    Parameters
    ----------
    registry : Registry
        The registered model.
    version : ModelVersion
        The candidate. One that was withdrawn by hand is left alone.
    rows : str
        The md5 of its validation rows.
    settings : Settings
        Those that it was made with.
    folder : Path
        Where its metrics and the validation rows are.
    """
    if version.tags.get(DECISION) == WITHDRAWN:
        return
    metrics = read_json(folder / SCORES)
    while True:
        champion = registry.with_alias(CHAMPION)
        if champion is not None and number(champion) == number(version):
            # the process that crowned it may have been killed before it looked again
            crown(registry, champion.tags.get(ROWS, rows))
            return
        scores = {RMSE: repr(metrics["validation"]["rmse"]), ROWS: rows}
        champion_rmse = comparison = None
        try:
            if champion is not None:
                champion_rmse, comparison = _compare(
                    registry, champion, metrics, rows, settings, folder
                )
                scores |= {RIVAL: str(number(champion)), RIVAL_RMSE: repr(champion_rmse)}
                if comparison is not None:
                    scores |= zip(COMPARISON, map(repr, comparison), strict=True)
            decision = _decide(metrics, champion_rmse, comparison, settings.register.gate)
        except ModelError as error:
            by_hand = f"to replace it, run 'make promote VERSION={number(version)}'"
            decision = gate.Decision(False, f"{error}; {by_hand}")
        role = CHAMPION if decision.promote else CHALLENGER
        _record(registry, version, role, decision.reason, scores)
        if not decision.promote or crown(registry, rows, champion):
            return


def crown(registry: Registry, rows: str, rival: ModelVersion | None = None) -> bool:
    """Give the alias champion to the best version that passed the gate on some rows.

    Parameters
    ----------
    registry : Registry
        The registered model.
    rows : str
        The md5 of the validation rows.
    rival : ModelVersion, optional
        The champion that the versions were compared with, if its score is of other rows.

    Returns
    -------
    bool
        False if nothing was changed because another champion, with a score on other rows, was set
        concurrently: compare with it first.
    """
    moved = False
    while True:
        champion = registry.with_alias(CHAMPION)
        known = rival is not None and champion is not None and number(rival) == number(champion)
        if champion is not None and not known and champion.tags.get(ROWS) != rows:
            return moved  # if one was crowned here, the one that followed was compared with it
        passed = registry.search(f"tag.`{DECISION}` = '{CHAMPION}' AND tag.`{ROWS}` = '{rows}'")
        # MLflow reads the tags after the search; a version that matches no longer has none
        scored = [version for version in passed if RMSE in version.tags]
        best = min(scored, key=lambda v: (float(v.tags[RMSE]), -number(v)), default=None)
        if best is None or not _move(registry, number(best)):
            return True
        moved = True


def recorded_rmse(version: ModelVersion, rows: str) -> float | None:
    """Return the RMSE recorded on a version, if it is of the validation rows with this md5."""
    tags = version.tags
    return float(tags[RMSE]) if tags.get(ROWS) == rows and RMSE in tags else None


def promote(registry: Registry, chosen: ModelVersion) -> ModelVersion:
    """Make a version champion by hand, and withdraw the champion so far.

    Parameters
    ----------
    registry : Registry
        The registered model.
    chosen : ModelVersion
        One of its versions.

    Raises
    ------
    ModelError
        When it is the champion already.
    """
    old = registry.aliases().get(CHAMPION)
    if old and int(old) == number(chosen):
        raise ModelError(
            f"{registry.name} version {old} is the champion already; name another version"
        )
    reason = f"version {number(chosen)} was promoted by hand"
    _record(registry, chosen, CHAMPION, reason, {})
    for other in registry.search(f"tag.`{DECISION}` = '{CHAMPION}'"):
        if number(other) != number(chosen):
            role = WITHDRAWN if str(number(other)) == old else CHALLENGER
            _record(registry, other, role, reason, {})
    _move(registry, number(chosen))
    return registry.reread(chosen)


def _decide(
    metrics: Values,
    champion_rmse: float | None,
    comparison: scoring.Comparison | None,
    thresholds: Gate,
) -> gate.Decision:
    return gate.decide(
        rmse=metrics["validation"]["rmse"],
        r2=metrics["validation"]["r2"],
        baseline_rmse=metrics["baseline"]["validation"]["rmse"],
        champion_rmse=champion_rmse,
        comparison=comparison,
        max_rmse=thresholds.max_rmse,
        min_r2=thresholds.min_r2,
        min_improvement=thresholds.min_improvement,
        min_probability=thresholds.min_probability,
        must_beat_baseline=thresholds.must_beat_baseline,
    )


def _compare(
    registry: Registry,
    champion: ModelVersion,
    metrics: Values,
    rows: str,
    settings: Settings,
    folder: Path,
) -> tuple[float, scoring.Comparison | None]:
    """Score both models on these rows; return the champion's RMSE, and how the candidate compares.

    The RMSE is the one recorded on the champion if that is of these rows, because `crown` uses it.
    """
    stays = f"version {number(champion)} stays champion, for it"
    try:
        uri = f"models:/{registry.name}/{number(champion)}"
        model = skops_format.load(models.download(registry, champion), uri)
    except ModelError:
        raise ModelError(f"{stays} can't be loaded") from None
    gone = sorted({*getattr(model, "feature_names_in_", ())} - {*settings.data.features})
    if gone:
        raise ModelError(f"{stays} needs column {gone[0]}")
    pair, baseline = (joblib.load(folder / MODEL), model), metrics["baseline"]["prediction"]
    try:
        of_candidate, of_champion = _sums(pair, settings.data, baseline, folder / VALIDATION)
    except ModelError as error:
        raise ModelError(f"{stays} {error}") from None
    recorded = recorded_rmse(champion, rows)
    rmse = scoring.metrics(of_champion)["rmse"] if recorded is None else recorded
    # the RMSE is undefined if the errors are too large to be squared
    return inf if rmse is None else rmse, scoring.compare(of_candidate, of_champion)


def _sums(
    pair: "Pair", data: Data, baseline: float, place: Path
) -> tuple[scoring.Array, scoring.Array]:
    """Return the sums of two models' errors on the rows of a table."""
    table = reading.open_table(place, (data.target, *data.features))
    work = partial(_sums_of_part, pair, data.target, baseline)
    first = second = scoring.NONE
    with progress.bar("register", lambda: table.size) as done:
        for sums in engine.mapped(work, table.parts(), done):
            first, second = scoring.add(first, sums[0]), scoring.add(second, sums[1])
    return first, second


def _sums_of_part(
    pair: "Pair", target: str, baseline: float, part: reading.Part
) -> tuple[scoring.Array, scoring.Array]:
    rows = part.frame()
    actual, candidate = rows[target].to_numpy(), pair[0].predict(rows)
    try:
        champion = pair[1].predict(rows)
    except Exception:  # noqa: BLE001 - any model, on columns whose types may have changed
        raise ModelError("can't predict these rows") from None
    return scoring.sums(actual, candidate, baseline), scoring.sums(actual, champion, baseline)


def _record(
    registry: Registry, version: ModelVersion, role: str, reason: str, scores: dict[str, str]
) -> None:
    """Set a decision and its reason on a version; the decision last, for others go by it."""
    tags = scores | {REASON: reason, DECISION: role}
    registry.describe(version, f"{role.capitalize()}: {reason}.", tags)


def _move(registry: Registry, version: int) -> bool:
    """Move champion to a version and previous to the champion so far; return whether it moved."""
    old = registry.aliases().get(CHAMPION)
    if old and int(old) == version:
        return False
    if old:
        registry.set_alias(PREVIOUS, old)
    registry.set_alias(CHAMPION, version)
    return True

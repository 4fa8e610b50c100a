"""The gate to champion: what a candidate must reach, and why it did or did not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """Whether a version becomes champion, and why, as a sentence."""

    promote: bool
    reason: str


def decide(
    *,
    rmse: float,
    r2: float | None,
    baseline_rmse: float,
    champion_rmse: float | None = None,
    max_rmse: float | None = None,
    min_r2: float | None = None,
    min_improvement: float = 0.0,
    must_beat_baseline: bool = True,
) -> Decision:
    """Hold a candidate's validation metrics against what a champion must reach.

    Parameters
    ----------
    rmse, r2 : float
        The candidate's; R² is None where it is not defined.
    baseline_rmse : float
        Of predicting the training mean.
    champion_rmse : float, optional
        The current champion's on the same rows; None when there is no champion.
    max_rmse, min_r2 : float, optional
        Thresholds; None asks for nothing.
    min_improvement : float
        By how much the candidate's RMSE must be below the champion's, in the target's unit;
        at 0 one that is as good as the champion passes.
    must_beat_baseline : bool
        Whether the candidate must be better than predicting the training mean.

    Returns
    -------
    Decision
        It is to be promoted when it passes all that is asked for.
    """
    scored = f"validation RMSE {rmse:.6g}"
    if max_rmse is not None and rmse > max_rmse:
        return Decision(False, f"{scored} is above max_rmse {max_rmse:.6g}")
    if min_r2 is not None and (r2 is None or r2 < min_r2):
        shown = "not defined" if r2 is None else f"{r2:.6g}, below min_r2 {min_r2:.6g}"
        return Decision(False, f"validation R² is {shown}")
    if must_beat_baseline and not rmse < baseline_rmse:
        return Decision(False, f"{scored} is not below the baseline's {baseline_rmse:.6g}")
    if champion_rmse is None:
        return Decision(True, f"{scored} passes the gate; there is no champion")
    if rmse > champion_rmse:
        return Decision(False, f"{scored} is worse than the champion's {champion_rmse:.6g}")
    if champion_rmse - rmse < min_improvement:
        return Decision(
            False,
            f"{scored} is not min_improvement {min_improvement:.6g} below the champion's "
            f"{champion_rmse:.6g}",
        )
    return Decision(True, f"{scored} is not worse than the champion's {champion_rmse:.6g}")

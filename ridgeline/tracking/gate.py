"""The gate to champion: what a candidate must reach, and why it did or did not."""

from dataclasses import dataclass

from ridgeline.model.scoring import Comparison


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
    comparison: Comparison | None = None,
    max_rmse: float | None = None,
    min_r2: float | None = None,
    min_improvement: float = 0.0,
    min_probability: float | None = None,
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
    comparison : Comparison, optional
        The candidate with the champion; None where it is not defined.
    max_rmse, min_r2 : float, optional
        Thresholds; None asks for nothing.
    min_improvement : float
        By how much the candidate's RMSE must be below the champion's, in the target's unit;
        at 0 one that is as good as the champion passes.
    min_probability : float, optional
        How probable it must be that the candidate is better than the champion; None asks for
        nothing.
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
    champion, chance = f"the champion's {champion_rmse:.6g}", _chance(comparison)
    if rmse > champion_rmse:
        return Decision(False, f"{scored} is worse than {champion}{chance}")
    if champion_rmse - rmse < min_improvement:
        asked = f"min_improvement {min_improvement:.6g}"
        return Decision(False, f"{scored} is not {asked} below {champion}{chance}")
    if min_probability is not None:
        asked = f"min_probability {min_probability:.6g}"
        if comparison is None or comparison.probability < min_probability:
            return Decision(
                False, f"{scored} does not reach {asked} of being below {champion}{chance}"
            )
    return Decision(True, f"{scored} is not worse than {champion}{chance}")


def _chance(comparison: Comparison | None) -> str:
    """Return what is known of the difference between candidate and champion, in brackets."""
    if comparison is None:
        return ""
    # two significant digits, without the exponent of .2g: 1200, not 1.2e+03
    difference, lower, upper = (f"{float(f'{value:.2g}'):.6g}" for value in comparison[:3])
    return (
        f" (difference {difference}, 95 % interval {lower} to {upper}; better with probability "
        f"{comparison.probability:.6g})"
    )

"""Earlier states of the project, found in git, DVC and MLflow by their content.

Used by the commands of ``python -m ridgeline``, not by the stages.
"""

__all__ = ["backfill", "diff", "lineage", "revisions"]

"""Earlier states of the project, found in git, DVC and MLflow by their content.

Commands use it; no stage does.
"""

__all__ = ["backfill", "lineage", "revisions"]

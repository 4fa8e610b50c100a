"""A team's S3 store and MLflow server, with or without Docker."""

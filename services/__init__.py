"""The S3 store and the MLflow server of a team, with Docker Compose or without Docker."""

"""Settings of the services, from environment variables and ``.env``."""

import os
from pathlib import Path

from dotenv import dotenv_values, load_dotenv


class ServiceError(Exception):
    """An error that the user can fix; its text says what is wrong, where, and what to do."""


def load(folder: Path = Path()) -> None:
    """Load ``.env`` into the environment; variables that are already set keep their values."""
    load_dotenv(folder / ".env")


def require(*names: str) -> list[str]:
    """Return the values of settings.

    Raises
    ------
    ServiceError
        When a setting is not set, or is empty.
    """
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ServiceError(f"{', '.join(missing)}: not set; set them in .env, or run 'make env'")
    return [os.environ[name] for name in names]


def listed(folder: Path = Path()) -> list[str]:
    """Return the names of the settings in ``.env.example``."""
    return list(dotenv_values(folder / ".env.example"))

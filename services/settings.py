"""The settings of the services: the environment, and what ``.env`` adds to it."""

import os
from pathlib import Path

from dotenv import dotenv_values, load_dotenv


class ServiceError(Exception):
    """What a user can fix; its text says what is wrong, where, and what to do."""


def load(folder: Path = Path()) -> None:
    """Add what ``.env`` sets to the environment, which wins where both set it."""
    load_dotenv(folder / ".env")


def require(*names: str) -> list[str]:
    """Return the values of settings.

    Raises
    ------
    ServiceError
        When one is not set, or empty.
    """
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ServiceError(f"{', '.join(missing)}: not set; set them in .env, or run 'make env'")
    return [os.environ[name] for name in names]


def listed(folder: Path = Path()) -> list[str]:
    """Name the settings that ``.env.example`` lists."""
    return list(dotenv_values(folder / ".env.example"))

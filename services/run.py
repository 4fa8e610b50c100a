"""Run a command with the settings in ``.env``: ``python -m services.run dvc push``.

With ``--all`` before the command, it runs only if every setting in ``.env.example`` has a value.
"""

import os
import sys

from services import settings


def main(arguments: list[str]) -> None:
    """Replace this process with the command."""
    settings.load()
    if arguments[0] == "--all":
        settings.require(*settings.listed())
        arguments = arguments[1:]
    try:
        os.execvp(arguments[0], arguments)  # noqa: S606 - no shell is needed
    except OSError as error:
        raise settings.ServiceError(f"{arguments[0]} can't be run: {error.strerror}") from None


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except settings.ServiceError as error:
        sys.exit(f"error: {error}")

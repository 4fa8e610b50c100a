"""Pinned and installed versions of the packages that affect the bytes of outputs.

``make lock`` writes the pinned versions from requirements.txt to ``versions.toml``. They are params
of the stages: DVC reruns a stage when one of them changes.
"""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from ridgeline.errors import InstallationError, SettingsError, exit_on_error

COMPUTING = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
PLOTTING = ("matplotlib", "pillow")  # Pillow compresses the figures
SECTIONS = {"computing": COMPUTING, "plotting": PLOTTING}
FILE, LOCK = Path("versions.toml"), Path("requirements.txt")
HEADER = """\
# The versions that shape the bytes of outputs, params of each stage: 'make lock' writes this file
# from requirements.txt.
"""


def check(folder: Path = Path()) -> None:
    """Check that the installed versions are the pinned ones.

    Parameters
    ----------
    folder : Path
        The project's root.

    Raises
    ------
    InstallationError
        If an installed version is not the one in versions.toml.
    SettingsError
        If versions.toml can't be read.
    """
    different = [
        f"{name} {version(name)} is installed, but {FILE} pins {pin}"
        for section in read(folder).values()
        for name, pin in section.items()
        if version(name) != pin
    ]
    if different:
        raise InstallationError(
            f"{'; '.join(different)}; install the pinned versions with 'uv pip install -r {LOCK}'"
        )


def read(folder: Path = Path()) -> dict[str, dict[str, str]]:
    """Return versions.toml: the version of each package, by section.

    Raises
    ------
    SettingsError
        If the file is missing, is not TOML, or does not name these packages.
    """
    path = folder / FILE
    try:
        versions = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{path} is missing; run this in the project's root, or create it with 'make lock'"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not valid TOML ({error}); recreate it with 'make lock'"
        raise SettingsError(message) from None
    for section, names in SECTIONS.items():
        named = versions.get(section)
        if not isinstance(named, dict) or {*named} != {*names}:
            raise SettingsError(
                f"{path} should name in [{section}] just {', '.join(names)}; recreate it with "
                "'make lock'"
            )
    return versions


def pinned(lock: str) -> str:
    """Return the text of versions.toml, given the text of requirements.txt.

    Raises
    ------
    InstallationError
        If a package is not pinned to exactly one version.
    """
    text = HEADER
    for section, names in SECTIONS.items():
        text += f"\n[{section}]\n"
        for name in names:
            pins = re.findall(rf"^{name}==([^\s;]+)", lock, re.MULTILINE)
            if len(pins) != 1:
                raise InstallationError(
                    f"{LOCK} pins {len(pins)} versions of {name}, but identical outputs on every "
                    "Python version need exactly one; change requirements.in and run 'make lock'"
                )
            text += f'{name} = "{pins[0]}"\n'
    return text


if __name__ == "__main__":
    with exit_on_error("lock"):
        FILE.write_text(pinned(LOCK.read_text(encoding="utf-8")), encoding="utf-8")

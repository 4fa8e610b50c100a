"""The packages that shape the bytes of outputs: the versions pinned, and those installed.

``make lock`` writes the pinned versions from requirements.txt to ``versions.toml``. They are params
of the stages: DVC reruns a stage when one of them changes.
"""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from ridgeline.errors import InstallationError, SettingsError

COMPUTING = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
PLOTTING = ("matplotlib", "pillow")  # Pillow compresses the figures
FILE, LOCK = Path("versions.toml"), Path("requirements.txt")
HEADER = """\
# The versions that shape the bytes of outputs, params of each stage: 'make lock' writes this file
# from requirements.txt.
"""


def check(folder: Path = Path()) -> None:
    """Compare the installed versions with the pinned ones.

    Parameters
    ----------
    folder : Path
        The project's root.

    Raises
    ------
    InstallationError
        When another version is installed than versions.toml names.
    SettingsError
        When versions.toml can't be read.
    """
    pinned = {name: pin for section in read(folder).values() for name, pin in section.items()}
    other = [
        f"{name} {version(name)} is installed, but {FILE} pins {pin}"
        for name, pin in pinned.items()
        if version(name) != pin
    ]
    if other:
        raise InstallationError(
            f"{'; '.join(other)}; install what is pinned with 'uv pip install -r {LOCK}'"
        )


def read(folder: Path = Path()) -> dict[str, dict[str, str]]:
    """Read versions.toml: for each of its sections the version of each package.

    Raises
    ------
    SettingsError
        When it is absent, or not TOML.
    """
    path = folder / FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{path} is missing; run this in the project's root, or write it with 'make lock'"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path} is not valid TOML ({error}); write it again with 'make lock'"
        ) from None


def pinned(lock: str) -> str:
    """Return the text of versions.toml for the text of a requirements.txt.

    Raises
    ------
    InstallationError
        When a package is pinned there to no version, or to several.
    """
    text = HEADER
    for section, names in (("computing", COMPUTING), ("plotting", PLOTTING)):
        text += f"\n[{section}]\n"
        for name in names:
            pins = re.findall(rf"^{name}==([^\s;]+)", lock, re.MULTILINE)
            if len(pins) != 1:
                raise InstallationError(
                    f"{LOCK} pins {len(pins)} versions of {name}, but the same bytes on every "
                    "Python need one; change requirements.in and run 'make lock'"
                )
            text += f'{name} = "{pins[0]}"\n'
    return text


if __name__ == "__main__":
    FILE.write_text(pinned(LOCK.read_text(encoding="utf-8")), encoding="utf-8")

"""The md5 by which DVC knows a file or a folder: what joins DVC's outputs to MLflow's runs."""

import hashlib
import json
from pathlib import Path


def md5(path: Path) -> str:
    """Return the md5 of a file or folder exactly as ``dvc.lock`` has it.

    Parameters
    ----------
    path : Path
        A file, or a folder whose files at any depth count (what ``.dvcignore`` leaves out is
        not looked at here: keep outputs free of ignored files).

    Returns
    -------
    str
        32 hexadecimal digits; for a folder followed by ``.dir``: the md5 of its listing, as
        DVC serialises it (a JSON list of md5 and relpath, ordered by relpath).

    Raises
    ------
    FileNotFoundError
        When there is nothing at `path`.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = {f.relative_to(path).as_posix(): f for f in path.rglob("*") if f.is_file()}
    listing = [{"md5": md5(files[name]), "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"

"""Write ``.env``: ``.env.example`` with a random value in each place left empty there."""

import re
import secrets
import sys
from pathlib import Path

if __name__ == "__main__":
    text = Path(".env.example").read_text(encoding="utf-8")
    filled = re.sub(r"(?m)^(\w+=)$", lambda match: match[1] + secrets.token_hex(16), text)
    try:
        Path(".env").touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        sys.exit("error: .env is there already; remove it first to have it written anew")
    Path(".env").write_text(filled, encoding="utf-8")
    print("wrote .env, with random passwords")

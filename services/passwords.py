"""Create ``.env`` from ``.env.example`` if missing; fill empty values with random passwords."""

import re
import secrets
from pathlib import Path

if __name__ == "__main__":
    env = Path(".env")
    if not env.exists():
        env.touch(mode=0o600)
        env.write_text(Path(".env.example").read_text(encoding="utf-8"), encoding="utf-8")
    filled, count = re.subn(
        r"(?m)^(\w+=)$",
        lambda match: match[1] + secrets.token_hex(16),
        env.read_text(encoding="utf-8"),
    )
    if count:
        env.chmod(0o600)
        env.write_text(filled, encoding="utf-8")
        print(f"wrote {count} random passwords to .env")

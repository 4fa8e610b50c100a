"""Make a version champion by hand: ``python -m ridgeline.promote 3``, or ``previous``."""

import argparse

from ridgeline import config, registry, tracking
from ridgeline.errors import told


def main() -> None:
    """Move the alias champion to the version, or to the one with the alias, that is named."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("version", help="a version's number, or an alias such as previous")
    chosen = parser.parse_args().version
    with told("promote"):
        client, name = tracking.connect(), config.load().register.model
        version = registry.promote(client, name, chosen)
    print(f"{name} version {registry.number(version)} is champion")


if __name__ == "__main__":
    main()

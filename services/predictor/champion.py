"""`python -m services.predictor.champion`: print the version the alias `champion` points to, or nothing."""

import sys

from bikeshare.bootstrap import wire_registry
from bikeshare.errors import BikeshareError
from bikeshare.settings import load_settings


def main() -> int:
    """Print the version; the exit code says whether the registry answered."""
    try:
        version = wire_registry(load_settings()).version_of("champion")
    except BikeshareError as error:
        sys.stderr.write(f"champion: {error}\n")
        return error.exit_code
    sys.stdout.write(version or "")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m services.monitor`: one look, for a CronJob. Exit codes: 0 decided, 1 try again, 2 wrong configuration."""

import sys

from bikeshare.commands.monitor import look
from bikeshare.errors import BikeshareError


def main() -> int:
    """Look once and print one line of JSON."""
    try:
        sys.stdout.write(look(None, as_json=True) + "\n")
    except BikeshareError as error:
        sys.stderr.write(f"monitor: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

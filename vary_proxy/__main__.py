"""``vary-proxy``, and ``python -m vary_proxy``."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit; Ctrl-C ends quietly while that is still being loaded."""
    try:
        from vary_proxy import cli
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()

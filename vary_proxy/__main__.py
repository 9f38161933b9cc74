"""``python -m vary_proxy``."""

from vary_proxy.cli import main

if __name__ == "__main__":
    main()

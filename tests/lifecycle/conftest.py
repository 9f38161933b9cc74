"""The proxy as a command."""

from tests.lifecycle.command import start  # noqa: F401  the fixture

"""A file without a name, for processes that share what they were forked with.

In memory where the system can do that: a container with a read-only root has no place for files.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any


def nameless() -> Any:
    """Open, empty and unbuffered; it is gone with the last process that has it."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("vary-proxy"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)

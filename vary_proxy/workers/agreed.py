"""What the workers of one supervisor took last, for one of them that is started again.

The file may be broken by then, and the others go on by what it said before. So they keep that
in a file without a name, which all have inherited.
"""

from __future__ import annotations

import hashlib
import os

from vary_proxy.nameless import nameless

_DIGEST = 16  # bytes


class Agreed:
    """The text of a configuration, or None so far."""

    def __init__(self) -> None:
        self._file = nameless()

    def keep(self, text: bytes) -> None:
        """*text* has been taken, here and soon by the others."""
        digest = hashlib.blake2b(text, digest_size=_DIGEST).digest()
        os.pwrite(self._file.fileno(), digest + text, 0)
        os.ftruncate(self._file.fileno(), _DIGEST + len(text))

    def text(self) -> bytes | None:
        """What was kept; also None when it is just being written."""
        size = os.fstat(self._file.fileno()).st_size
        data = os.pread(self._file.fileno(), size, 0)
        text = data[_DIGEST:]
        digest = hashlib.blake2b(text, digest_size=_DIGEST).digest()
        return text if data[:_DIGEST] == digest else None

    def close(self) -> None:
        self._file.close()

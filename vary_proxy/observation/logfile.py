"""Where log lines go: a file that may be moved away, or a pipe that several workers share.

A file is opened for appending, so that truncating it is safe, and opened anew when it is
asked for or another lies at its path. Workers that write to one thing take turns: a batch is
longer than what a pipe takes at once, and would be torn apart by another's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from collections.abc import Iterator

from vary_proxy.nameless import nameless

_AT_ONCE = 1 << 16  # bytes of one write
_LINE_END = 0x0A


class Turns:
    """A lock between processes, to be made before they are forked; it ends with its holder."""

    def __init__(self) -> None:
        self._file = nameless()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        import fcntl  # where there are several processes, there it is

        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()


class LogFile:
    """*path* None: stdout. To be used by one thread, but for ``ask_anew``. Raises OSError."""

    def __init__(self, path: str | None = None, turns: Turns | None = None) -> None:
        self._path = path
        self._turns = turns
        self._descriptor = _stdout() if path is None else _opened(path)
        self._reopen = False
        self._torn = False  # the last line was written in part

    def ask_anew(self) -> None:
        """Have the next ``look`` open it anew: it may have been moved away."""
        self._reopen = True

    def write(self, batch: bytes) -> None:
        """Write all of it. Raises OSError; what was written until then stays."""
        with contextlib.nullcontext() if self._turns is None else self._turns.taken():
            whole = b"\n" + batch if self._torn else batch
            rest = memoryview(whole)
            try:
                while rest:
                    rest = rest[self._some(rest[:_AT_ONCE]) :]
            finally:
                if written := len(whole) - len(rest):
                    self._torn = whole[written - 1] != _LINE_END

    def _some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # whoever gave us stdout did not want to wait; this thread can
            select.select((), (self._descriptor,), ())
            return 0

    def look(self) -> None:
        """Open anew where that is asked for, or another file lies there by now.

        One that is only missing is waited for: who moved it may be about to make the next. Where
        none can be had, the old one stays. Raises OSError then.
        """
        if self._path is None or not (self._reopen or self._is_another()):
            return
        self._reopen = False
        new = _opened(self._path)
        os.close(self._descriptor)
        self._descriptor = new

    def _is_another(self) -> bool:
        assert self._path is not None
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        mine = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    def close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)


def _stdout() -> int:
    if sys.stdout is None:  # by now its number may be that of a connection
        raise OSError(errno.EBADF, "stdout is closed; name another place in log.access, or off")
    return sys.stdout.fileno()


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

"""References within scalars: ``${VAR}``, ``${VAR:-default}``, ``${file:PATH}``; ``$${`` is ``${``.

They are filled in after the YAML was read, so no value can become structure. A file's last
line end is dropped, its path is relative to the configuration's directory, and its content is
private: never shown or repeated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from vary_proxy.configuration.problems import Wrong, one_of

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_MAX_FILE = 64 << 10


class Expansion:
    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self.environ = environ
        self.directory = directory
        self.files: dict[Path, bytes] = {}  # that were referred to: the fingerprint of each

    def expand(self, text: str) -> str:
        """*text* with every reference filled in, once. Raises Wrong."""
        return _REFERENCE.sub(self._one, text) if "${" in text else text

    def is_private(self, text: str) -> bool:
        """True when *text* refers to a file."""
        return any(name and name.startswith("file:") for _, name in _REFERENCE.findall(text))

    def _one(self, found: re.Match[str]) -> str:
        if found[1]:
            return "${"
        name = found[2]
        if name is None:
            raise Wrong("${ is not closed", "close it with }, or write $${ for the two characters")
        if name.startswith("file:"):
            return self._file(name.removeprefix("file:"))
        variable = _VARIABLE.fullmatch(name)
        if variable is None:
            raise Wrong(
                f"${{{name}}} is no reference", "write ${NAME}, ${NAME:-default} or ${file:PATH}"
            )
        return self._variable(variable[1], variable[2])

    def _variable(self, name: str, default: str | None) -> str:
        value = self.environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            near = one_of(name, self.environ)
            remedy = (
                near if near.startswith("did you") else f"set it, or write ${{{name}:-default}}"
            )
            raise Wrong(f"the variable {name} is not set", remedy)
        return value

    def _file(self, name: str) -> str:
        path = self.directory / name
        self.files[path] = b""
        try:
            # A pipe could be waited on for ever.
            content = None if path.exists() and not path.is_file() else _head(path)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
            raise Wrong(f"cannot read the file {name}: {reason}", "correct the path") from None
        if content is None:
            raise Wrong(f"{name} is not a regular file", "name a file")
        self.files[path] = fingerprint(content)
        if len(content) > _MAX_FILE:
            raise Wrong(f"the file {name} is larger than {_MAX_FILE} bytes", "name a smaller one")
        try:
            return content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise Wrong(f"the file {name} is not UTF-8 text", "save it as UTF-8") from None


def fingerprint(content: bytes) -> bytes:
    """What tells one content from another."""
    return hashlib.blake2b(content, digest_size=16).digest()


def fingerprint_now(path: Path) -> bytes:
    """That of the file as it is; empty where there is none, or none to be read."""
    try:
        return fingerprint(_head(path)) if path.is_file() else b""
    except (OSError, ValueError):
        return b""


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_FILE + 1)

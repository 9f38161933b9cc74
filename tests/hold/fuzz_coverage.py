"""`make fuzz`, second part: inputs that reach new branches are kept and changed further.

    python -m tests.hold.fuzz_coverage [--seconds 60] [--jobs 2] [--corpus DIRECTORY] [TARGET …]

Every target has a process of its own, for the engine (atheris, on libFuzzer) ends the one it
runs in. What it kept stays in DIRECTORY for the next run, by default for this one only.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hold import fuzzing

HERE = sys.argv[1:2] == [fuzzing.HERE]
if HERE:
    import atheris

with atheris.instrument_imports(include=["vary_proxy"]) if HERE else contextlib.nullcontext():
    from tests.hold import fuzz_fields, fuzz_parsers


def planted(data: bytes) -> None:
    """A fault, to see that one is found: it takes the right byte at four places in turn."""
    if data[:1] == b"V" and data[1:2] == b"a" and data[2:3] == b"r" and data[3:4] == b"!":
        raise ValueError("planted")


TARGETS = {each.__name__: each for each in (*fuzz_parsers.TARGETS, *fuzz_fields.TARGETS)}
SAMPLES = (*fuzz_parsers.SAMPLES, *fuzz_fields.SAMPLES)
MOST = 1024  # bytes of an input


def seeded(directory: Path) -> Path:
    """*directory* with the samples among its inputs."""
    directory.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES:
        (directory / hashlib.sha256(sample).hexdigest()[:16]).write_bytes(sample)
    return directory


def here(name: str, *options: str) -> None:
    """Fuzz in this process, and end it: 0, or not when something was found."""
    target = TARGETS.get(name) or atheris.instrument_func(planted)

    def one(data: bytes) -> None:
        try:
            target(data)
        except BaseException:
            print(f"{name} fails on {data!r}", file=sys.stderr, flush=True)
            raise

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def apart(name: str, corpus: Path, *limits: str) -> subprocess.CompletedProcess[str]:
    """Fuzz *name* in a process of its own; libFuzzer's *limits* say for how long."""
    options = (f"-max_len={MOST}", "-timeout=10", f"-artifact_prefix={corpus}/", *limits)
    command = [sys.executable, "-m", "tests.hold.fuzz_coverage", fuzzing.HERE, name]
    return subprocess.run(
        [*command, str(seeded(corpus / name)), *options], capture_output=True, text=True
    )


def reported(name: str, chosen: fuzzing.Chosen) -> fuzzing.Report:
    """What libFuzzer came to."""
    with contextlib.ExitStack() as stack:
        made = chosen.corpus or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        limits = (f"-max_total_time={chosen.seconds:.0f}", f"-seed={chosen.seed % (1 << 32)}")
        done = apart(name, made, *limits, "-print_final_stats=1")
        kept = sum(1 for _ in (made / name).iterdir())
    runs = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    found = f"FOUND\n{done.stderr[-fuzzing.SHOWN :]}" if done.returncode else ""
    return fuzzing.Report(
        int(runs[1]) if runs else 0, kept, int(edges[-1]) if edges else None, found
    )


if __name__ == "__main__":
    if HERE:
        here(sys.argv[2], *sys.argv[3:])
    sys.exit(fuzzing.main("coverage-guided fuzzing of every parser", list(TARGETS), reported))

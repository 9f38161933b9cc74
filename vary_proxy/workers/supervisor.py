"""Several workers behind one port: started, watched over, restarted, and ended together.

Workers are forked, before any event loop or thread is there: they share the pages of what was
imported, are back within a moment, and inherit the sockets that cannot be shared otherwise.
The supervisor answers no requests. It passes signals on, starts the fallen again (at once,
then ever later while one keeps falling), and ends with the worst of their statuses.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("vary_proxy")

NOT_STARTED = 1
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 3.0  # seconds until one that keeps falling is started again
_STEADY = 10.0  # seconds after which one counts as standing
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HELD = {*_PASSED_ON, signal.SIGCHLD}


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker knows of its place. ``report("")`` says that it serves, else why not."""

    slot: int
    again: bool  # in the place of one that fell
    report: Callable[[str], None]
    life: int  # a descriptor that ends with the supervisor


class _Worker:
    def __init__(self, pid: int, pipe: int, started: float) -> None:
        self.pid = pid
        self.pipe = pipe
        self.started = started
        self.said = b""
        self.serves = False


class Supervisor:
    """Runs *work* in *count* processes; its result is a worker's exit status.

    *announce* is called once, when all serve; *tell* takes what a person should read.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[Post], int],
        announce: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._count = count
        self._work = work
        self._announce = announce
        self._tell = tell
        self._workers: dict[int, _Worker] = {}  # by slot
        self._due: dict[int, float] = {}  # when a fallen one is started again
        self._falls: dict[int, int] = {}
        self._announced = False
        self._ending = 0  # signals that asked for the end
        self._first = signal.SIGTERM
        self._worst = 0
        self._life = os.pipe()
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Until all have ended; the exit status."""
        awake, poke = socket.socketpair()
        for one in (awake, poke):
            one.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in _HELD}
        old = signal.set_wakeup_fd(poke.fileno(), warn_on_full_buffer=False)
        self._selector.register(awake, selectors.EVENT_READ, None)
        gc.collect()
        gc.freeze()  # what is here by now stays shared with the workers
        try:
            for slot in range(self._count):
                if not self._ending:
                    self._start(slot)
            while self._workers or (self._due and not self._ending):
                self._turn(awake)
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._close(awake, poke)
        return self._worst

    def _turn(self, awake: socket.socket) -> None:
        ready = self._selector.select(self._patience())
        self._reap()  # first: whoever had fallen by now did not fall while ending
        for key, _ in ready:
            if key.data is None:
                for number in awake.recv(512):
                    self._signalled(signal.Signals(number))
            elif key.data in self._workers.values():
                self._read(key.data)
        now = time.monotonic()
        for slot in [slot for slot, due in self._due.items() if due <= now and not self._ending]:
            del self._due[slot]
            self._start(slot)

    def _patience(self) -> float | None:
        if not self._due or self._ending:
            return None
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _start(self, slot: int) -> None:
        """Start one; where the system has no room for it, later."""
        try:
            ours, theirs = os.pipe()
            try:
                pid = self._forked(slot, ours, theirs)
            except OSError:
                os.close(ours)
                raise
            finally:
                os.close(theirs)
        except OSError as full:
            self._fell(slot, f"could not be started: {full.strerror}", stood=False)
            return
        os.set_blocking(ours, False)
        worker = self._workers[slot] = _Worker(pid, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _forked(self, slot: int, ours: int, theirs: int) -> int:
        # Signals wait until the worker can take them: none is lost, none is taken twice.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(slot, ours, theirs)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)

    def _become(self, slot: int, ours: int, theirs: int) -> None:
        """In the new process: work, and never return."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for number in _HELD:
                signal.signal(number, signal.SIG_DFL)
            os.setpgid(0, 0)  # a Ctrl-C reaches the supervisor alone, which passes it on
            self._selector.close()
            os.close(ours)
            os.close(self._life[1])
            for other in self._workers.values():
                os.close(other.pipe)
            post = Post(slot, self._announced, lambda said: _report(theirs, said), self._life[0])
            status = self._work(post)
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(status)

    def _read(self, worker: _Worker) -> None:
        """What a worker reports: one line."""
        try:
            data = os.read(worker.pipe, 4096)
        except BlockingIOError:
            return
        worker.said += data
        if not data or b"\n" in worker.said:
            self._selector.unregister(worker.pipe)
        if b"\n" not in worker.said:
            return
        said = worker.said.decode(errors="replace").strip()
        worker.serves = not said
        if said and not self._announced and not self._ending:
            self._give_up(said)
        elif said and not self._ending:
            _log.error("a worker could not start: %s", said)
        elif not self._announced and all(
            slot in self._workers and self._workers[slot].serves for slot in range(self._count)
        ):
            self._announced = True
            self._announce()

    def _signalled(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            self._pass_on(number)
        elif number in _PASSED_ON:
            if not self._ending:
                self._tell("draining; a second signal ends now")
            self._end(number)

    def _end(self, number: signal.Signals) -> None:
        self._ending += 1
        self._due.clear()
        if self._ending == 1:
            self._first = number
        elif self._ending == 2:  # two of one kind could be taken for one
            number = signal.SIGINT if self._first == signal.SIGTERM else signal.SIGTERM
        else:
            number = signal.SIGKILL
        self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    def _reap(self) -> None:
        for slot, worker in list(self._workers.items()):
            pid, raw = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._read_last(worker)
                del self._workers[slot]
                self._ended(slot, worker, os.waitstatus_to_exitcode(raw))

    def _read_last(self, worker: _Worker) -> None:
        with contextlib.suppress(KeyError):
            self._selector.get_key(worker.pipe)
            self._read(worker)
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.pipe)
        os.close(worker.pipe)

    def _ended(self, slot: int, worker: _Worker, code: int) -> None:
        status = 128 - code if code < 0 else code
        if self._ending:
            self._worst = max(self._worst, status)
            return
        how = f"ended by signal {-code}" if code < 0 else f"ended with status {code}"
        self._fell(slot, how, stood=time.monotonic() - worker.started >= _STEADY)

    def _fell(self, slot: int, how: str, *, stood: bool) -> None:
        """There is none in *slot* now; have one there again soon, or give up the start."""
        if not self._announced:
            self._give_up(f"worker {slot} {how}")
            return
        falls = self._falls[slot] = 0 if stood else self._falls.get(slot, -1) + 1
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2**falls)
        self._due[slot] = time.monotonic() + delay
        _log.error("worker %d %s; it is started again in %.1f s", slot, how, delay)

    def _give_up(self, why: str) -> None:
        self._tell(f"not started: {why}")
        self._worst = NOT_STARTED
        self._end(signal.SIGINT)

    def _close(self, *sockets: socket.socket) -> None:
        self._selector.close()
        for end in self._life:
            os.close(end)
        for one in sockets:
            one.close()


def _report(pipe: int, said: str) -> None:
    with contextlib.suppress(OSError):
        os.write(pipe, " ".join(said.split()).encode()[:4000] + b"\n")


def listen_to_signals() -> None:
    """In a worker, once its handlers stand: take what was held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)

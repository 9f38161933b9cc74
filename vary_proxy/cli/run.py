"""``vary-proxy run``: assemble, listen, say so in three lines, and end cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from vary_proxy.cli.options import configuration_options, loaded, rereader
from vary_proxy.clients.listening import ListenError
from vary_proxy.config import Loaded
from vary_proxy.configuration.problems import ConfigError
from vary_proxy.configuration.quantities import written_size
from vary_proxy.configuration.settings import Listen, Settings

if TYPE_CHECKING:
    from vary_proxy.app import App
    from vary_proxy.workers.inherited import Inherited
    from vary_proxy.workers.supervisor import Post

NOT_STARTED, DRAIN_TIMED_OUT, INTERRUPTED = 1, 4, 130


@click.command("run")
@configuration_options
@click.option(
    "--loop",
    type=click.Choice(("auto", "uvloop", "asyncio")),
    default="auto",
    envvar="VARY_PROXY_LOOP",
    help="The event loop. [default: auto, uvloop where it is installed]",
)
@click.option(
    "--watch/--no-watch",
    default=True,
    envvar="VARY_PROXY_WATCH",
    help="Reload when the file changes. [default: watch]",
)
@click.argument("strays", nargs=-1, metavar="")
def command(loop: str, watch: bool, strays: tuple[str, ...], **given: Any) -> int:
    """Serve.

    `--origin URL` alone needs no file; a file says the rest, and is reloaded when it changes
    and at SIGHUP. SIGTERM drains and ends, Ctrl-C too, but without drain.delay; the second
    one ends now.
    """
    if strays:
        is_url = "://" in strays[0]
        option = "--origin" if is_url else "-c"
        raise click.UsageError(f"{strays[0]!r} stands alone; write {option} {strays[0]}")
    _keep_descriptors()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it is taken: what it asks for comes anyhow
    configuration = loaded(given)
    logging.basicConfig(
        level=configuration.settings.log.level.upper(), format="%(levelname)s %(message)s"
    )
    again = rereader(given, configuration)
    factory = _factory(loop)

    def work(place: Place | None) -> int:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(serve(configuration, again, watch=watch, place=place))

    count = configuration.settings.server.workers or _processors()
    return work(None) if count == 1 else _supervised(configuration.settings, count, work)


def _keep_descriptors() -> None:
    """Let no connection or loop be given the number of a closed stdin, stdout or stderr."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)


def _processors() -> int:
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands: its post, and what it listens on with the others."""

    post: Post
    inherited: Inherited


def _supervised(settings: Settings, count: int, work: Callable[[Place], int]) -> int:
    """Run *work* in so many processes; the exit status."""
    from vary_proxy.workers.inherited import reserve
    from vary_proxy.workers.supervisor import Supervisor

    import_module("vary_proxy.app")  # once, before the workers are forked
    if any(origin.sign is not None for origin in settings.origins.values()):
        import_module("vary_proxy.origins.credentials").preload()
    try:
        inherited = reserve(settings, count)
    except ListenError as error:
        _tell(f"not started: {error}")
        return NOT_STARTED
    if settings.store.type == "memory":
        each = written_size(settings.store.memory.max)
        _tell(
            f"warning: each of {count} workers keeps a store of its own, {each}, and asks the "
            "origin for itself; purges and invalidations reach them all; redis is shared"
        )

    def announce() -> None:
        for line in announcement(settings, inherited.addresses(settings)):
            _tell(line)

    def place(post: Post) -> int:
        inherited.keep(post.slot)
        form = f"%(levelname)s worker {post.slot}: %(message)s"
        logging.basicConfig(level=settings.log.level.upper(), format=form, force=True)
        return work(Place(post, inherited))

    try:
        return Supervisor(count, place, announce, _tell).run()
    finally:
        inherited.close()


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # that nobody reads it is no reason to stop serving
        click.echo(line, err=True)


def _factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if name == "auto":
            return None
        raise click.UsageError("uvloop is not installed; write --loop asyncio") from None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _collect_rarely() -> None:
    """Look for cycles once in many stored responses: there are few, and to look costs a miss."""
    gc.freeze()  # code and configuration need no looking through
    gc.set_threshold(20_000, 20, 20)


async def serve(
    configuration: Loaded, reread: Callable[..., Loaded], *, watch: bool, place: Place | None = None
) -> int:
    """Run until a signal; the exit status."""
    from vary_proxy.app import App
    from vary_proxy.observation.tracing import TracingError
    from vary_proxy.origins.reaching import OriginError
    from vary_proxy.tasks import Tasks

    signals = _Signals(asyncio.get_running_loop())
    try:
        inherited = None if place is None else place.inherited
        app = App(configuration, reread=reread, inherited=inherited)
    except (OriginError, TracingError) as error:
        _report(place, str(error))
        return NOT_STARTED
    tasks = Tasks()
    if place is not None:
        signals.join(place.post)
        if place.post.again:
            await _stand_with_others(app, place.inherited, reread)
    try:
        addresses = await app.start()
    except (ListenError, OSError) as error:
        _report(place, str(error))
        return NOT_STARTED
    _collect_rarely()
    _report(place, "", announcement(configuration.settings, addresses))
    try:
        tasks.spawn(_on_hangup(app, signals), "reload")
        if watch:
            tasks.spawn(app.watch(), "watch", lasting=True)
        await signals.first.wait()
        if place is None:
            _tell("draining; a second signal ends now")
        return await _drained(app.drain(patient=signals.patient), signals)
    finally:
        await tasks.close()
        await app.close()


async def _stand_with_others(app: App, inherited: Inherited, reread: Callable[..., Loaded]) -> None:
    """Begin with what the other workers took last; then with the file, where that can be used."""
    text = inherited.agreed.text()
    if text is not None:
        with contextlib.suppress(ConfigError):
            app.take(reread(text))
    await app.reload(alone=True)


def _report(place: Place | None, failure: str, lines: Sequence[str] = ()) -> None:
    """Say how the start went: the supervisor speaks for its workers."""
    if place is not None:
        place.post.report(failure)
        return
    for line in (f"not started: {failure}",) if failure else lines:
        _tell(line)


async def _on_hangup(app: App, signals: _Signals) -> None:
    while True:
        await signals.hangup.wait()
        signals.hangup.clear()
        try:
            await app.hang_up()
        except Exception:  # no thread or descriptor to be had, most likely
            logging.getLogger("vary_proxy").exception("SIGHUP: not reloaded; send it again")


class _Signals:
    """The first SIGTERM or SIGINT, the second, and SIGHUP. A person's Ctrl-C is impatient."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.hangup = asyncio.Event()
        self.patient = True
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._take, number)
        loop.add_signal_handler(signal.SIGHUP, self.hangup.set)

    def join(self, post: Post) -> None:
        """Take what the supervisor passes on; end as by SIGTERM when it is gone."""
        from vary_proxy.workers.supervisor import listen_to_signals

        loop = asyncio.get_running_loop()

        def orphaned() -> None:
            loop.remove_reader(post.life)
            self._take(signal.SIGTERM)

        loop.add_reader(post.life, orphaned)
        listen_to_signals()

    def _take(self, number: signal.Signals) -> None:
        if self.first.is_set():
            self.second.set()
            return
        self.patient = number is signal.SIGTERM
        self.first.set()


async def _drained(drain: Coroutine[Any, Any, bool], signals: _Signals) -> int:
    from vary_proxy.tasks import Tasks

    tasks = Tasks()
    draining = tasks.spawn(drain, "drain")
    impatient = tasks.spawn(signals.second.wait(), "second signal")
    try:
        await asyncio.wait({draining, impatient}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            return INTERRUPTED
        return 0 if draining.result() else DRAIN_TIMED_OUT
    finally:
        await tasks.close()


def announcement(settings: Settings, addresses: list[str]) -> tuple[str, ...]:
    """What start-up says: where it listens, the origin, the store; then who may look on."""
    where = ", ".join(map(_address, settings.listen, addresses))
    origins = [(name, " ".join(map(str, one.urls))) for name, one in settings.origins.items()]
    whence = origins[0][1] if len(origins) == 1 else ", ".join(" ".join(one) for one in origins)
    store = settings.store
    held = f"memory, {written_size(store.memory.max)}" if store.type == "memory" else store.type
    told = [f"listening on {where}", f"origin {whence}", f"store {held}"]
    for name, address in (("probes", settings.probes.address), ("admin", settings.admin.address)):
        if address is not None and (address.path is not None or address.port):
            scheme = "" if address.path is not None else "http://"
            told.append(f"{name} on {scheme}{address}")
    return tuple(told)


def _address(said: Listen, bound: str) -> str:
    if bound.startswith("unix:"):
        return bound
    return f"{'http' if said.tls is None else 'https'}://{bound}"

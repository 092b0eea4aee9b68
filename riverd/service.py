"""Runs the engine: from a config to the end of the input, or until it is told to stop."""

from __future__ import annotations

import gc
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from riverd.assembly import assemble, rule_of
from riverd.checkpointing import Checkpointer
from riverd.commands import Asking, obey
from riverd.config import Config, resolve_path
from riverd.database_url import PASSWORD, database_url, holds_password
from riverd.delivery.outbox import Delivery
from riverd.delivery.producers import open_producer
from riverd.delivery.receivers import receivers_of
from riverd.delivery.topics import TopicSender
from riverd.engine import Engine, watermark_of
from riverd.errors import ConfigError
from riverd.liveness import Liveness
from riverd.outgoing import topics_of
from riverd.published_states import publish_stored_states
from riverd.publishing import Publisher
from riverd.removed_rules import close_alerts_of_removed_rules
from riverd.requests import Requests
from riverd.result import result_of
from riverd.retraining import Retraining
from riverd.standby import standing_by
from riverd.status import Status
from riverd.trainer import ProcessTrainer
from riverd.web.host import WebHost
from riverd.writer import Writer
from storage.store import Store
from stream.files import FileSource
from stream.kafka_losses import AcceptLoss
from stream.records import MICROSECONDS
from stream.source import Source

log = logging.getLogger("riverd")

IDLE_S = 0.2  # between two looks at a source that has nothing new
DRAW_S = 0.1
FLUSH_S = 8.0  # for the outbox on the way out: a receiver that hangs is left after that
GC_THRESHOLD = (100_000, 50, 100)

Show = Callable[[Status], None]
Reached = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended."""

    status: Status
    result: dict[str, Any]


class Stop:
    """Set by SIGTERM or Ctrl-C: finish the step, checkpoint, leave. A second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait(self, seconds: float) -> None:
        """Sleep, but not on when asked to stop."""
        until_s = time.monotonic() + seconds
        while not self.asked and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, IDLE_S))

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


def calm_garbage_collection() -> None:
    """Look for cycles rarely: a batch makes tens of thousands of objects, none of them in one."""
    gc.freeze()  # what lives as long as the process need not be looked at again
    gc.set_threshold(*GC_THRESHOLD)


def wall_clock_us() -> int:
    return time.time_ns() // 1000


def open_source(config: Config, config_path: Path, *, bounded: bool, accept_loss: AcceptLoss | None = None) -> Source:
    """The source that the config names; with ``accept_loss`` it goes on where Kafka can't any more."""
    topics = [config.events.topic] + ([config.labels.topic] if config.labels else [])
    if config.source.kind == "kafka":
        from riverd.kafka_source import open_kafka

        return open_kafka(config, config_path, topics, bounded=bounded, accept_loss=accept_loss)
    if accept_loss is not None:
        raise ConfigError(
            '--accept-loss is for [source] kind = "kafka".\n  Leave it out: files lose nothing by themselves.'
        )
    return FileSource(
        resolve_path(config_path, config.source.path),
        topics,
        bounded=bounded,
        max_message_bytes=config.source.max_message_bytes,
    )


def open_store(config: Config, config_path: Path, *, reached: Reached) -> Store:
    """The store that the config names; a relative SQLite file lies beside the config."""
    url = database_url(config, config_path)
    if holds_password(config):
        log.warning("[storage] url in %s holds a password: better give it in %s", config_path, PASSWORD)
    return Store.open(
        url,
        config.model.name,
        reached=reached,
        keep_dead_letters_us=config.dead_letters.keep,
        lease_s=config.storage.lease / MICROSECONDS,
    )


def run(
    config: Config,
    config_path: Path,
    *,
    until_idle: bool,
    accept_loss: AcceptLoss | None = None,
    show: Show | None = None,
    reached: Reached = lambda _: None,
) -> Run:
    """Go on from the last checkpoint; end with the input if ``until_idle``, else when told to stop.

    On the way out: stop polling, finish the step, checkpoint, stop the web, flush the outbox, close the store,
    close the source.

    Raises
    ------
    ConfigError, StateMismatchError, SourceError, StorageError
        What can't be read or written, and what to do about it.
    """
    stop = Stop()
    with (
        closing(open_source(config, config_path, bounded=until_idle, accept_loss=accept_loss)) as source,
        closing(open_store(config, config_path, reached=reached)) as store,
        stop.on_signals(),
    ):
        store.acquire(wait=not until_idle, sleep=standing_by(lambda: stop.asked))
        engine = _engine(config, source, bounded=until_idle, reached=reached)
        retraining = Retraining(
            config,
            engine,
            ProcessTrainer(config, config_path),
            snapshot=store.snapshot,
            waits=until_idle,
            stopped=lambda: stop.asked,
        )
        engine.control = retraining.at_tick
        requested = Requests(store, engine, retraining)
        checkpointer = Checkpointer(engine, retraining)
        loaded = store.load()
        if loaded is not None:
            for reason in loaded.skipped:
                log.error("passed over a damaged checkpoint: %s", reason)
            checkpointer.restore(loaded)
            if engine.parts.skew is not None:
                publish_stored_states(engine.parts.skew, store, up_to=loaded.number)
            log.info("going on from checkpoint %d", loaded.number)
        close_alerts_of_removed_rules(
            store,
            config,
            firing=engine.parts.watch.firing,
            watermark=watermark_of(engine.parts),
            now_us=wall_clock_us(),
        )
        asking = Asking(store)
        obeying = partial(obey, engine, asking)
        web = None if until_idle or config.web.address is None else WebHost(config.web.address, obey=obeying)
        external_url = "" if config.web.address is None else config.web.address.url
        receivers = receivers_of(config, external_url=external_url, now_us=wall_clock_us)
        delivery = Delivery(store, receivers, now_us=wall_clock_us, reached=reached)
        sender = TopicSender(store, topics_of(config), partial(open_producer, config, config_path), reached=reached)

        def committed() -> None:
            delivery.wake()
            sender.wake()

        writer = Writer(
            store,
            checkpointer,
            interval_s=config.storage.checkpoint / MICROSECONDS,
            snapshot_interval_s=config.storage.snapshot / MICROSECONDS,
            reached=reached,
            on_commit=committed,
            sleep=lambda wait_s: _wait_alive(stop, store, wait_s, web, lambda: publisher.status("waiting")),
        )
        began_us, before = wall_clock_us(), store.alerts()
        liveness = Liveness(
            [rule_of(alert) for alert in config.alerts if alert.liveness],
            before=before,
            now_us=wall_clock_us,
            silent_s=lambda: engine.silent_s,
            checkpoint_age_s=lambda: (
                (wall_clock_us() - (writer.last.at_us if writer.last else began_us)) / MICROSECONDS
            ),
        )
        publisher = Publisher(
            engine,
            before=before,
            liveness=liveness.rules,
            written=lambda: writer.last,
            store_error=lambda: writer.error,
            deliveries=lambda: (*delivery.statuses, *sender.statuses),
            retraining=retraining,
        )
        delivery.start()
        sender.start()
        requested.start()
        try:
            _loop(
                engine,
                writer,
                publisher,
                requested,
                None if until_idle else liveness,
                web,
                stop,
                show,
                until_idle=until_idle,
            )
            if show is not None:
                show(publisher.status("stopping"))
            writer.finish(events=_events(engine))
            status = publisher.status("done")
        finally:
            retraining.trainer.stop()
            writer.close()
            requested.close(within_s=1.0)
            if web is not None:
                web.close()
            asking.close()
            delivery.close(within_s=FLUSH_S)
            sender.close(within_s=FLUSH_S)
        return Run(status, result_of(engine, status, stored=store.alerts()))


def _engine(config: Config, source: Source, *, bounded: bool, reached: Reached) -> Engine:
    return Engine(config, assemble(config, now_us=wall_clock_us), source, bounded=bounded, reached=reached)


def _loop(
    engine: Engine,
    writer: Writer,
    publisher: Publisher,
    requested: Requests,
    liveness: Liveness | None,
    web: WebHost | None,
    stop: Stop,
    show: Show | None,
    *,
    until_idle: bool,
) -> None:
    calm_garbage_collection()
    drawn_s = 0.0
    if show is not None:
        show(publisher.status("compiling"))
    if web is not None:
        web.poll(lambda: publisher.status("compiling"))
    while not stop.asked:
        requested.poll()
        busy = engine.step()
        phase = "reading" if busy else "waiting"
        if liveness is not None:
            engine.announce(liveness.poll())
        publisher.observe()
        unsaved = engine.unsaved
        writer.poll(dead_letters=len(unsaved.dead_letters), events=_events(engine), urgent=unsaved.urgent)
        if web is not None:
            web.poll(lambda phase=phase: publisher.status(phase))
        now_s = time.monotonic()
        if show is not None and now_s - drawn_s >= DRAW_S:
            drawn_s = now_s
            show(publisher.status(phase))
        if until_idle and engine.finished:
            return
        if not busy and not until_idle:
            time.sleep(IDLE_S)


def _wait_alive(stop: Stop, store: Store, wait_s: float, web: WebHost | None, status: Callable[[], Status]) -> None:
    """While the engine waits for the store it lives, and must not be taken for dead."""
    until_s = time.monotonic() + wait_s
    while not stop.asked and (left_s := until_s - time.monotonic()) > 0:
        store.check_lease()
        if web is not None:
            web.poll(status)
        stop.wait(min(left_s, 1.0))


def _events(engine: Engine) -> int:
    return engine.parts.joiner.fates()["events"]

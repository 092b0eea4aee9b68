"""A real Apache Kafka on loopback, for the demo and the tests: one KRaft node, in a folder of its own.

Its jars are fetched once, through Maven, into .cache/ of this checkout.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache"
DEADLINE_S = 60.0
JAVA = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # starts soonest
LOGGING = """\
rootLogger.level=WARN
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
"""
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.retention.ms": "-1",  # or messages of years ago are deleted at once
    # after a kill it can't register again before its last session has ended: 9 s by default
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}


class NotInstalledError(Exception):
    """Java or Maven is missing."""


def fetch_jars() -> Path:
    """The folder with Kafka's jars; the first time Maven fetches them, 44 MB."""
    pom = HERE / "pom.xml"
    version = pom.read_text().partition("<artifactId>kafka_2.13</artifactId>")[2].partition("<version>")[2]
    jars = CACHE / f"kafka-{version.partition('<')[0]}"
    if not jars.is_dir():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            fetched = Path(folder) / "jars"
            copy = [_program("mvn"), "-q", "-B", "-Dstyle.color=never", "-f", pom, "dependency:copy-dependencies"]
            subprocess.run([*copy, f"-DoutputDirectory={fetched}"], check=True, stdin=subprocess.DEVNULL)
            fetched.rename(jars)
    return jars


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        package = {"java": "default-jre-headless", "mvn": "maven"}[name]
        raise NotInstalledError(f"{name} is not installed, and a local Kafka needs it (Debian: {package})")
    return found


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class LocalBroker:
    """A broker that is started, stopped, frozen or killed, and keeps its data and ports meanwhile.

    Parameters
    ----------
    properties
        Of the server, beyond those above; ``{secure}`` is the port of a second listener.
    secure
        There is a second listener, SECURE: SASL over TLS.

    Raises
    ------
    NotInstalledError
        Java or Maven is missing.
    """

    def __init__(self, properties: Mapping[str, str] = {}, *, secure: bool = False) -> None:
        self._java = _program("java")
        self._jars = fetch_jars()
        self.folder = Path(tempfile.mkdtemp(prefix="riverd-kafka-"))
        self.address = f"127.0.0.1:{free_port()}"
        self.secure_address = f"127.0.0.1:{free_port()}"
        controller = f"127.0.0.1:{free_port()}"
        listeners = f"PLAINTEXT://{self.address},CONTROLLER://{controller}"
        protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
        if secure:
            listeners += f",SECURE://{self.secure_address}"
            protocols += ",SECURE:SASL_SSL"
        values = {
            **PROPERTIES,
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": protocols,
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": str(self.folder / "data"),
            **properties,
        }
        (self.folder / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        (self.folder / "log4j2.properties").write_text(LOGGING)
        self._process: subprocess.Popen[bytes] | None = None
        cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        self._call("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", "server.properties").wait()
        self.start()

    def _call(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [self._java, *JAVA, "-Dlog4j2.configurationFile=log4j2.properties", "-cp", f"{self._jars}/*"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*command, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self) -> None:
        """Start it, and wait until it leads what it has."""
        self._process = self._call("kafka.Kafka", "server.properties")
        host, _, port = self.address.partition(":")
        end_s = time.monotonic() + DEADLINE_S
        while True:
            with closing(socket.socket()) as asking:
                if asking.connect_ex((host, int(port))) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(DEADLINE_S)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts and answers nothing meanwhile, and closes nothing either."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Its data go with it, so it is not asked twice."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

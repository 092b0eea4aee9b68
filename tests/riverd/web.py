"""The web in a test: its app without a process, and its process without an engine."""

import asyncio
import atexit
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from riverd.addresses import Listen
from riverd.client import NobodyThereError
from riverd.status import AlertEvent, AlertStatus, CheckpointStatus, DeliveryStatus, JudgedStatus, Status, WindowStatus
from riverd.web.app import create_app
from riverd.web.document import Document, read_command, to_line
from riverd.web.host import WebHost
from riverd.web.link import Link
from stream.join_state import COUNTS

NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
STATUS = Status(
    model="shops",
    phase="reading",
    watermark=NOW_US - HOUR_US,
    seconds=5.0,
    events_per_second=10.0,
    counts={name: 10 + number for number, name in enumerate(COUNTS)},
    windows=[
        WindowStatus("1d", True, NOW_US, 50, 40, 0.5, 0.9, 0.75, 0.25),
        WindowStatus("1d", False, NOW_US, 50, 0, None, None, None, None),
    ],
    alerts=[
        AlertStatus("loss", "firing", NOW_US, "logloss", "1d", 0.7, 0.6, above=True, severity="critical"),
        AlertStatus("area", "quiet", None, "roc_auc", "1d", None, 0.6, above=False),
    ],
    events=[AlertEvent("loss", "firing", NOW_US, NOW_US, "logloss", "1d", float("nan"), 0.6)],
    checkpoint=CheckpointStatus(3, 9, 1000, 20.0, 1.0, at=NOW_US - 60_000_000),
    judged=JudgedStatus(40, 10, 20.0, 9.5),
    deliveries=[DeliveryStatus("webhook", 2, NOW_US - 5_000_000, 7, 1, "HTTP 500")],
)
DOCUMENT = Document("1.2.3", NOW_US - HOUR_US, NOW_US, 0, STATUS)

LOOP = asyncio.Runner()  # one for all: a condition belongs to the loop that first waits for it
atexit.register(LOOP.close)


def carried_out(status, command):
    """The status of an engine that has carried a command out."""
    match command.what:
        case "pause":
            return replace(status, paused_by="a command")
        case "resume":
            return replace(status, paused_by=None)
        case "thaw":
            return replace(status, stalled_since=None)
        case _:
            return status


class Answer:
    def __init__(self, messages):
        self.code = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def detail(self):
        return json.loads(self.body)["detail"]


async def ask(app, method, path, *, token=None, body=b"", headers=()):
    """One request to an ASGI app in this process."""
    sent, messages = [{"type": "http.request", "body": body}], []
    head = [(b"host", b"here"), *headers]
    if token is not None:
        head.append((b"authorization", token.encode()))
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": head, "http_version": "1.1", "scheme": "http", "server": ("here", 80), "client": ("there", 1),
        "asgi": {"version": "3.0"}, "root_path": "",
    }  # fmt: skip

    async def receive():
        return sent.pop(0) if sent else {"type": "http.disconnect"}

    async def send(message):
        messages.append(message)

    await app(scope, receive, send)
    return Answer(messages)


class Web:
    """The app without a process, on an engine that obeys at once unless it is deaf."""

    def __init__(self, *, token="t0ken", guarded=False, document=DOCUMENT, deaf=False, answer=None):
        self.now_s = 0.0
        self.answer = answer
        self.commands = []
        self.deaf = deaf
        self.document = document
        self._tasks = []
        self.link = Link(self._obey, monotonic_s=lambda: self.now_s)
        self.app = create_app(self.link, token=token, reading_needs_token=guarded)
        if document is not None:
            self.hear(document)

    def hear(self, document):
        self.document = document
        LOOP.run(self.link.hear(to_line(document)))

    def _obey(self, line):
        command = read_command(line)
        self.commands.append(command)
        if not self.deaf:
            status = carried_out(self.document.status, command)
            self.document = replace(self.document, commands=command.number, status=status)
            self._say(self.document)
            if command.what == "retrain":
                self._say(self.answer(command))

    def _say(self, message):
        self._tasks.append(asyncio.get_running_loop().create_task(self.link.hear(to_line(message))))

    def ask(self, method, path, **how):
        return LOOP.run(ask(self.app, method, path, **how))

    def change(self, state="paused", *, token="Bearer t0ken", body=None):
        body = json.dumps({"state": state}).encode() if body is None else body
        return self.ask("POST", "/learning", token=token, body=body, headers=[(b"content-type", b"application/json")])

    def retrain(self, content, *, token="Bearer t0ken"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", "/api/retrain", token=token, body=body)

    def thaw(self, *, token="Bearer t0ken"):
        return self.ask("POST", "/labels/thaw", token=token)

    def samples(self):
        """What Prometheus reads, by name and labels but the model; not the silence, which is never the same."""
        text = self.ask("GET", "/metrics").body.decode()
        return {
            (sample.name, tuple(sorted(set(sample.labels.items()) - {("model", "shops")}))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name != "riverd_engine_silence_seconds"
        }


class Running:
    """A web process, and an engine of which there is only the status."""

    def __init__(self, asking=None, **how):
        self.status = STATUS
        self.obeyed = []
        self.asking = asking
        self.host = WebHost(Listen("127.0.0.1", 0), obey=self.obey, **how)
        self.url = self.host.listen.url

    def obey(self, command):
        self.obeyed.append(command.what)
        self.status = carried_out(self.status, command)
        return self.asking.ask(command) if command.what == "retrain" else None

    def poll(self):
        self.host.poll(lambda: self.status)

    def until(self, condition, *, within_s=20.0):
        """Poll until it is so; what raises NobodyThereError is not so yet."""
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            self.poll()
            try:
                if found := condition():
                    return found
            except NobodyThereError:
                pass
            time.sleep(0.01)
        raise AssertionError("it never came true")


def in_background(function):
    """Start it in a thread; the result of what is returned is that of the function."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future

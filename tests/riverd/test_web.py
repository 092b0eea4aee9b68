"""The web: who may do what, what it tells, and that the engine does not feel it."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from riverd.addresses import Listen
from riverd.client import Client, NobodyThereError
from riverd.errors import ConfigError, RiverdError
from riverd.status import AlertEvent, AlertStatus, CheckpointStatus, DeliveryStatus, JudgedStatus, Status, WindowStatus
from riverd.web.app import create_app
from riverd.web.document import Document, read_command, read_document, to_line
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


@pytest.fixture(autouse=True, scope="module")
def close_the_loop():
    yield
    LOOP.close()


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

    def __init__(self, *, token="t0ken", guarded=False, document=DOCUMENT, deaf=False):
        self.now_s = 0.0
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
        paused_by = "a command" if command.learning == "paused" else None
        if not self.deaf:
            self.document = replace(self.document, commands=command.number, status=replace(STATUS, paused_by=paused_by))
            self._tasks.append(asyncio.get_running_loop().create_task(self.link.hear(to_line(self.document))))

    def ask(self, method, path, **how):
        return LOOP.run(ask(self.app, method, path, **how))

    def change(self, state="paused", *, token="Bearer t0ken", body=None):
        body = json.dumps({"state": state}).encode() if body is None else body
        return self.ask("POST", "/learning", token=token, body=body, headers=[(b"content-type", b"application/json")])


def test_what_is_said_comes_through_the_pipe_unchanged():
    said = read_document(to_line(DOCUMENT))
    assert said.status.events[0].value != said.status.events[0].value  # NaN, which JSON does not have
    steady = replace(DOCUMENT, status=replace(STATUS, events=[]))
    assert read_document(to_line(steady)) == steady
    with pytest.raises(msgspec.DecodeError):
        read_document(b'{"version": "1"}')


@pytest.mark.parametrize("path", ["/status", "/metrics", "/livez", "/readyz", "/docs", "/openapi.json"])
def test_reading_needs_no_token_on_this_machine(path):
    assert Web(token=None).ask("GET", path).code == 200


@pytest.mark.parametrize("path", ["/status", "/metrics", "/docs", "/openapi.json", "/nothing"])
def test_from_other_machines_it_does(path):
    web = Web(guarded=True)
    refused = web.ask("GET", path)
    assert (refused.code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert web.ask("GET", path, token="Bearer t0ken").code == (404 if path == "/nothing" else 200)
    for probe in ("/livez", "/readyz"):
        assert web.ask("GET", probe).code == 200


@pytest.mark.parametrize(
    "token", [None, "", "Bearer", "Bearer ", "t0ken", "Basic t0ken", "Bearer t0ke", "Bearer t0ken2", "Bearer \xff"]
)
def test_no_change_without_the_token(token):
    web = Web()
    assert web.change(token=token).code == 401
    assert web.ask("DELETE", "/status", token=token).code == 401  # whatever the route
    assert web.commands == []


def test_where_no_token_is_set_nothing_changes_and_that_is_explained():
    web = Web(token=None)
    for token in (None, "Bearer ", "Bearer None"):
        refused = web.change(token=token)
        assert refused.code == 403
        assert "Set RIVERD_TOKEN in riverd's environment" in refused.detail
    assert web.commands == []


def test_the_body_of_who_is_refused_is_not_read():
    async def receive():
        raise AssertionError("read")

    async def main():
        said = []

        async def send(message):
            said.append(message)

        scope = {"type": "http", "method": "POST", "path": "/learning", "headers": []}
        await Web(document=None).app(scope, receive, send)
        return said[0]["status"]

    assert asyncio.run(main()) == 401


def test_learning_is_paused_and_resumed():
    web = Web()
    for state in ("paused", "paused", "running"):
        answer = web.change(state)
        assert (answer.code, json.loads(answer.body)) == (200, {"state": state})
    assert [(command.number, command.learning) for command in web.commands] == [
        (1, "paused"), (2, "paused"), (3, "running")
    ]  # fmt: skip
    assert web.change("paused", token="bearer t0ken").code == 200


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"state": "off"}', b'{"state": true}', b"{}", b'{"state": "paused", "x": 1}', b"\xff", b"[]"]
)
def test_what_is_no_request_changes_nothing(body):
    web = Web()
    assert web.change(body=body).code in (400, 422)
    assert web.commands == []


def test_an_engine_that_does_not_answer_is_not_waited_for_forever(monkeypatch):
    monkeypatch.setattr("riverd.web.app.ANSWER_WITHIN_S", 0.05)
    answer = Web(deaf=True).change()
    assert answer.code == 504
    assert "has not answered" in answer.detail


def test_before_the_engine_has_spoken_there_is_nothing_to_tell():
    web = Web(document=None)
    assert [web.ask("GET", path).code for path in ("/status", "/readyz", "/livez")] == [503, 503, 200]
    assert "riverd is starting" in web.ask("GET", "/status").detail
    assert samples(web) == {("riverd_up", ()): 1.0}


def test_status_is_the_document_as_it_came():
    answer = Web().ask("GET", "/status")
    assert answer.body == to_line(DOCUMENT)
    assert answer.headers["content-type"] == "application/json"


def test_alive_is_who_was_heard_of_lately():
    web = Web()
    for silent_s, code in ((29.9, 200), (30.0, 503)):
        web.now_s = silent_s
        assert web.ask("GET", "/livez").code == code
    assert "not been heard of for 30 s" in web.ask("GET", "/livez").detail
    assert samples(web)["riverd_up", ()] == 0.0
    web.hear(replace(DOCUMENT, status=replace(STATUS, phase="compiling")))  # which may take longer
    web.now_s += 300.0
    assert web.ask("GET", "/livez").code == 200


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phase": "compiling"}, "the engine is compiling"),
        ({"phase": "stopping"}, "the engine is stopping"),
        ({"store_error": "disk full"}, "the last checkpoint failed: disk full"),
        ({"phase": "waiting"}, None),
    ],
)
def test_ready_is_who_reads_and_can_write(changes, reason):
    answer = Web(document=replace(DOCUMENT, status=replace(STATUS, **changes))).ask("GET", "/readyz")
    assert (answer.code, json.loads(answer.body).get("detail")) == (503 if reason else 200, reason)


def samples(web):
    text = web.ask("GET", "/metrics").body.decode()
    return {
        (sample.name, tuple(sorted(set(sample.labels.items()) - {("model", "shops")}))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name != "riverd_engine_silence_seconds"
    }


def test_the_metrics_say_what_the_status_says():
    web = Web(document=replace(DOCUMENT, started_at=time.time_ns() // 1000 - 100_000_000))
    found = samples(web)
    assert found["riverd_build_info", (("version", "1.2.3"),)] == 1
    final = (("labels", "final"), ("window", "1d"))
    provisional = (("labels", "provisional"), ("window", "1d"))
    assert found["riverd_window_logloss_nats", final] == 0.5
    assert ("riverd_window_logloss_nats", provisional) not in found  # undefined is absent, not 0
    assert found["riverd_window_logloss_sum_nats", final] == 20.0
    assert (found["riverd_window_ordered_pairs", final], found["riverd_window_pairs", final]) == (225.0, 300.0)
    assert found["riverd_alert_firing", (("rule", "loss"), ("severity", "critical"))] == 1
    assert found["riverd_alert_firing", (("rule", "area"), ("severity", "warning"))] == 0
    assert found["riverd_outbox_waiting", (("channel", "webhook"),)] == 2
    assert found["riverd_deliveries_total", (("channel", "webhook"),)] == 7
    assert found["riverd_learning", ()] == 1
    assert found["riverd_checkpoint_duration_seconds", ()] == 0.02
    assert found["riverd_watermark_timestamp_seconds", ()] == (NOW_US - HOUR_US) / 1e6


def test_every_fate_is_among_the_metrics():
    found = samples(Web())
    kinds = ("messages_total", "events_total", "labels_total", "other_total", "pending_events", "waiting_labels")
    values = sorted(value for (name, _), value in found.items() if name.removeprefix("riverd_") in kinds)
    assert values == sorted(STATUS.counts.values())


def test_before_the_first_checkpoint_its_age_counts_from_the_start():
    started_at = time.time_ns() // 1000 - 100_000_000
    document = replace(DOCUMENT, started_at=started_at, status=replace(STATUS, checkpoint=None))
    assert 100 <= samples(Web(document=document))["riverd_checkpoint_age_seconds", ()] < 110


# --- the process ---


class Running:
    """A web process, and an engine of which there is only the status."""

    def __init__(self, **how):
        self.status = STATUS
        self.obeyed = []
        self.host = WebHost(Listen("127.0.0.1", 0), obey=self.obey, **how)
        self.url = self.host.listen.url

    def obey(self, command):
        self.obeyed.append(command.learning)
        self.status = replace(STATUS, paused_by="a command" if command.learning == "paused" else None)

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


@pytest.fixture
def running(monkeypatch):
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    made = Running()
    yield made
    made.host.close()


def in_background(function):
    """Start it in a thread; the result of what is returned is that of the function."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future


def test_a_real_process_serves_what_the_engine_says(running):
    client = Client(running.url)
    asked = in_background(client.status)
    running.until(asked.done)
    assert replace(asked.result(), events=[]) == replace(STATUS, events=[])
    paused = in_background(lambda: client.set_learning("paused"))
    running.until(paused.done)
    paused.result()
    assert running.obeyed == ["paused"]
    assert client.status().paused_by == "a command"


def test_killed_it_is_started_again_and_the_engine_goes_on(running, caplog):
    client = Client(running.url)
    running.until(in_background(client.status).done)
    first = running.host.pid
    os.kill(first, signal.SIGKILL)
    running.until(lambda: running.host.pid not in (None, first))
    asked = in_background(client.status)  # the socket never closed: this waits for the new one
    running.until(asked.done)
    assert asked.result().model == "shops"
    assert "the web process has ended (code -9); the engine goes on, and starts it again in 1 s" in caplog.text


def test_one_that_hangs_does_not_hold_up_the_engine(monkeypatch):
    now_s = [0.0]
    running = Running(monotonic_s=lambda: now_s[0])
    running.status = replace(STATUS, history=[(number, 0.5, 0.5) for number in range(20_000)])
    try:
        running.until(in_background(Client(running.url).status).done)
        os.kill(running.host.pid, signal.SIGSTOP)
        before_s = time.monotonic()
        for _ in range(50):
            now_s[0] += 1.0
            running.poll()  # more than any pipe holds
        assert time.monotonic() - before_s < 2.0
        os.kill(running.host.pid, signal.SIGCONT)
        running.status = replace(running.status, model="after")

        def came_through():
            now_s[0] += 1.0
            return Client(running.url).status().model == "after"

        running.until(came_through)
    finally:
        running.host.close()


def test_it_does_not_outlive_an_engine_that_was_killed(tmp_path):
    program = (
        "import time\nfrom riverd.addresses import Listen\nfrom riverd.status import Status\n"
        "from riverd.web.host import WebHost\n"
        "host = WebHost(Listen('127.0.0.1', 0), obey=print)\n"
        "status = Status('m', 'reading', None, 0.0, 0.0, {})\n"
        "host.poll(lambda: status)\nprint(host.pid, flush=True)\ntime.sleep(60)\n"
    )
    engine = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    pid = int(engine.stdout.readline())
    web = os.pidfd_open(pid)
    engine.kill()
    engine.wait()
    engine.stdout.close()
    assert select.select([web], [], [], 20.0)[0], "it lives on"
    os.close(web)


def test_an_address_that_is_taken_is_explained():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as fault:
            WebHost(Listen("127.0.0.1", port), obey=print)
    assert str(fault.value) == (
        f'[web] listen = "127.0.0.1:{port}" can\'t be had: Address already in use.\n'
        '  Another riverd, or another program, may listen there (ss -ltnp); choose another port, or listen = "".'
    )


def test_other_machines_are_let_in_with_a_token_alone(monkeypatch):
    monkeypatch.delenv("RIVERD_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"lets other machines in, but RIVERD_TOKEN is not set.\n  Set it"):
        WebHost(Listen("0.0.0.0", 0), obey=print)


def test_the_engine_does_not_load_what_only_the_web_needs():
    program = (
        "import sys\nimport riverd.service\n"
        "print([name for name in ('fastapi', 'starlette', 'uvicorn', 'prometheus_client', 'urllib3')"
        " if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


# --- the client ---


def test_nobody_there_is_explained():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(NobodyThereError) as fault:
            Client(url).status()
    assert str(fault.value) == (
        f"no riverd answers at {url}: [Errno 111] Connection refused.\n"
        "  Start it (riverd run), or name another with --url or -c; [web] listen says where it is."
    )


def test_a_change_without_a_token_is_not_even_asked_for(monkeypatch):
    monkeypatch.delenv("RIVERD_TOKEN", raising=False)
    with pytest.raises(RiverdError, match="RIVERD_TOKEN is not set, and changes need the token"):
        Client("http://127.0.0.1:1").set_learning("paused")


def test_a_wrong_token_is_explained(running, monkeypatch):
    running.until(in_background(Client(running.url).status).done)
    monkeypatch.setenv("RIVERD_TOKEN", "wrong")
    asked = in_background(lambda: Client(running.url).set_learning("paused"))
    running.until(asked.done)
    with pytest.raises(RiverdError, match=r"/learning refuses \(HTTP 401\): This needs the token"):
        asked.result()
    assert running.obeyed == []

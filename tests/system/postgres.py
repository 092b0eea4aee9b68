"""A PostgreSQL of the tests' own: a child process on loopback, its data in a folder that goes with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from storage.database import open_database
from tests.system.programs import find_program, free_port

DEADLINE_S = 30.0
# Not even killed does it lose what was committed: fsync only matters when the machine goes down.
OPTIONS = {
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "full_page_writes": "off",
    "synchronous_commit": "on", "max_connections": "60", "shared_buffers": "64MB", "lc_messages": "C",
}  # fmt: skip


class Postgres:
    """A server, with a superuser ``river`` who needs no password; others do."""

    def __init__(self) -> None:
        debians = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        self._server = Path(find_program("postgres", also_in=debians[-1:])).resolve()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="riverd-postgres-", dir="/tmp"))
        self._as_user: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:  # which the server refuses to run as
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as_user |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        made = [self._server.with_name("initdb"), "-D", self.folder / "data", "-U", "river", "-E", "UTF8"]
        made += ["--auth=scram-sha-256", f"--pwfile={self._password_file()}", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, **self._as_user)
        rules = "host all river 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.folder / "data" / "pg_hba.conf").write_text(rules)
        self._databases = 0
        self.start()

    def _password_file(self) -> Path:
        path = self.folder / "password"
        path.write_text("unused\n")
        path.chmod(0o644)
        return path

    def url(self, database: str = "postgres", *, user: str = "river", port: int | None = None) -> str:
        return f"postgresql+psycopg://{user}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [f"--{name}={value}" for name, value in {**OPTIONS, "port": str(self.port)}.items()]
        end_s = time.monotonic() + DEADLINE_S
        with (self.folder / "log").open("ab") as log:
            while True:
                command = [str(self._server), "-D", str(self.folder / "data"), *options]
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_user)
                while process.poll() is None and time.monotonic() < end_s:
                    if self.answers():
                        self._process = process
                        return
                    time.sleep(0.02)
                # right after a kill the processes of the old one hold its memory for a moment
                assert time.monotonic() < end_s, (self.folder / "log").read_text()[-2000:]

    def answers(self) -> bool:
        command = [self._server.with_name("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def wait(self) -> None:
        assert self._process is not None
        self._process.wait(DEADLINE_S)

    def kill(self) -> None:
        """As the kernel would; its processes go with it."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            self.wait()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def started_again(self) -> Iterator[None]:
        """Whenever it is killed meanwhile, by whomever, it is started again."""
        ending = threading.Event()

        def keep() -> None:
            while not ending.is_set():
                with suppress(subprocess.TimeoutExpired):
                    assert self._process is not None
                    self._process.wait(0.05)
                    self.start()

        thread = threading.Thread(target=keep)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def kill_and_wait(self) -> None:
        """Kill it from another process than its parent, and wait until that has started it again."""
        file = self.folder / "data" / "postmaster.pid"
        before = file.read_text().split()[0]
        os.kill(int(before), signal.SIGKILL)
        end_s = time.monotonic() + DEADLINE_S
        while not file.exists() or file.read_text().split()[:1] in ([], [before]) or not self.answers():
            assert time.monotonic() < end_s
            time.sleep(0.02)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts and answers nothing meanwhile, and closes nothing either."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        pids = [self.pid, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def run(self, *statements: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """What the last statement gives."""
        address = (url or self.url()).replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, *, template: str = "template1", owner: str = "river") -> Iterator[str]:
        """A new database, which is dropped at the end; its URL."""
        self._databases += 1
        name = f"riverd_{self._databases}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {owner}")
        try:
            yield self.url(name, user=owner)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    @cached_property
    def with_tables(self) -> str:
        """The name of a database that has the tables, to be a template of others: a fifth of the time."""
        self.run("CREATE DATABASE with_tables")
        open_database(self.url("with_tables")).close()
        return "with_tables"

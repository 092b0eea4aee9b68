"""Speaks to a running riverd over HTTP, for the commands that do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from riverd.config import Config
from riverd.errors import RiverdError
from riverd.load_config import load_config
from riverd.status import Status
from riverd.web.document import LearningState, read_document
from riverd.web.token import VARIABLE, token_from_environment

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3.0, 40.0


class NobodyThereError(RiverdError):
    """No riverd answers at that address, or it is just starting."""


class Client:
    """A running riverd.

    Parameters
    ----------
    url
        Where its web process listens: ``http://127.0.0.1:8765``.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)
        self._token = token_from_environment()

    def status(self) -> Status:
        """How its engine stands.

        Raises
        ------
        NobodyThereError, RiverdError
            Nothing answers; it answers something else.
        """
        answer = self._ask("GET", "/status")
        try:
            return read_document(answer).status
        except msgspec.DecodeError as error:
            raise RiverdError(
                f"{self.url} answers, but not like this riverd: {error}.\n"
                "  Check the address, and the versions of both."
            ) from None

    def set_learning(self, state: LearningState) -> None:
        """Pause or resume learning; it has taken effect when this returns."""
        self._change("/learning", {"state": state})

    def thaw_labels(self) -> bool:
        """Let predictions expire although labels have stalled; False if nothing was frozen."""
        return bool(json.loads(self._change("/labels/thaw"))["thawed"])

    def _change(self, path: str, content: Any = None) -> bytes:
        if self._token is None:
            raise RiverdError(
                f"{VARIABLE} is not set, and changes need the token.\n  Set it to what the running riverd was given."
            )
        return self._ask("POST", path, content)

    def _ask(self, method: str, path: str, content: Any = None) -> bytes:
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if content is not None:
            headers["Content-Type"] = "application/json"
        body = None if content is None else json.dumps(content)
        try:
            answer = self._pool.request(method, self.url + path, headers=headers, body=body, redirect=False)
        except HTTPError as error:
            raise NobodyThereError(
                f"no riverd answers at {self.url}: {str(error).rpartition(': ')[2]}.\n"
                "  Start it (riverd run), or name another with --url or -c; [web] listen says where it is."
            ) from None
        if 200 <= answer.status < 300:
            return answer.data
        detail = _detail(answer.data)
        if answer.status == 503:
            raise NobodyThereError(f"{self.url}: {detail}")
        raise RiverdError(f"{self.url}{path} refuses (HTTP {answer.status}): {detail}")


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def url_of(config_path: Path) -> str:
    """Where the riverd of a config listens; raises RiverdError if it does not."""
    config: Config = load_config(config_path)
    if config.web.address is None:
        raise RiverdError(f'{config_path}: [web] listen = "" turns the web off.\n  Give it an address, or use --url.')
    return config.web.address.url

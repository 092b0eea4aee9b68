"""Where alerts go: the log, a webhook, Alertmanager. Each is a function that returns once the notice has been taken."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from riverd.config import Config
from riverd.delivery.alertmanager import api_alerts, change_of, sentence, webhook_message
from riverd.errors import ConfigError
from storage.outbox import Pending
from stream.records import AlertChange

if TYPE_CHECKING:
    from urllib3 import PoolManager

log = logging.getLogger("riverd")

WEBHOOK_TOKEN = "RIVERD_WEBHOOK_TOKEN"
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3.0, 5.0
ALERTS_AT_ONCE = 64  # some 50 kB, which any proxy lets through
BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class UnreachableError(Exception):
    """Nobody there, or not fit to take anything now: whatever comes next would fare the same."""


class RefusedError(Exception):
    """The receiver lives, but does not want this one."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """One way to tell of alerts.

    ``send`` tells of changes in one message, and raises ``UnreachableError`` or ``RefusedError`` unless it was heard.
    """

    place: str  # for the log; without the path of a URL, which may be a secret
    send: Callable[[Sequence[Pending]], None]
    at_once: int = 1  # changes in one message
    forgets: bool = False  # whether it has to hear again and again what it was told


def receivers_of(config: Config, *, external_url: str, now_us: Callable[[], int]) -> dict[str, Receiver]:
    """The receivers that the config names, by channel.

    Parameters
    ----------
    external_url
        Where people reach this riverd, "" for nowhere; messages link to it.
    now_us
        The wall clock.

    Raises
    ------
    ConfigError
        The token for the webhook cannot be sent in a header.
    """
    receivers = {"log": Receiver("the log", lambda told: log_alert(change_of(told[0].notice)))}
    delivery, model = config.delivery, config.model.name
    if delivery.webhook is not None or delivery.alertmanager is not None:
        pool = _pool()
        if delivery.webhook is not None:
            post = partial(_post, pool, delivery.webhook, _authorization())
            receivers["webhook"] = Receiver(
                _place(delivery.webhook),
                lambda told: post(webhook_message(told[0], model, external_url=external_url), id=told[0].id),
            )
        if delivery.alertmanager is not None:
            post_alerts = partial(_post, pool, f"{delivery.alertmanager.rstrip('/')}/api/v2/alerts", {})
            receivers["alertmanager"] = Receiver(
                _place(delivery.alertmanager),
                lambda told: post_alerts(api_alerts(told, model, now_us=now_us(), external_url=external_url)),
                at_once=ALERTS_AT_ONCE,
                forgets=True,
            )
    return receivers


def log_alert(change: AlertChange) -> None:
    """One line in the log."""
    log.log(logging.WARNING if change.state == "firing" else logging.INFO, "alert %s", sentence(change))


def _pool() -> PoolManager:
    import urllib3  # 40 ms, for those who deliver

    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
    return urllib3.PoolManager(timeout=timeout, retries=False)


def _authorization() -> dict[str, str]:
    token = os.environ.get(WEBHOOK_TOKEN, "")
    if not token:
        return {}
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(f"{WEBHOOK_TOKEN} is not a token.\n  Set it to printable ASCII without spaces, or unset it.")
    return {"Authorization": f"Bearer {token}"}


def _post(pool: PoolManager, url: str, headers: dict[str, str], content: Any, *, id: str | None = None) -> None:  # noqa: A002
    from urllib3.exceptions import HTTPError

    headers = headers | {"Content-Type": "application/json", "User-Agent": "riverd"}
    if id is not None:
        headers["Idempotency-Key"] = id  # the same at every attempt
    try:
        # a redirect is not followed: the token would go to whom it was not meant for
        body = json.dumps(content)
        answer = pool.request("POST", url, body=body, headers=headers, redirect=False, preload_content=False)
        said = b"" if 200 <= answer.status < 300 else answer.read(200)
        answer.close()  # the rest, however long, is of no interest
    except HTTPError as error:
        raise UnreachableError(f"{type(error).__name__}: {_brief(error)}") from None
    if 200 <= answer.status < 300:
        return
    words = f"HTTP {answer.status} {said.decode(errors='replace').strip()!r}"
    # whoever redirects, forbids or knows no such place does so to every message
    for_all = answer.status >= 500 or answer.status < 400 or answer.status in (*BUSY, 401, 403, 404, 405)
    raise UnreachableError(words) if for_all else RefusedError(words)


def _brief(error: Exception) -> str:
    # urllib3 prefixes its pool and the URL, whose path may be a secret
    return str(error).rpartition(": ")[2][:200]


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

"""Speaking to a riverd that runs, or does not."""

import socket

import pytest

from riverd.client import Client, NobodyThereError
from riverd.errors import RiverdError


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

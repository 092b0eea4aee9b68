"""Over HTTP: who may read, who may change."""

import asyncio

import pytest

from tests.riverd.web import Web


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
    assert web.change(token=token).code == web.thaw(token=token).code == 401
    assert web.ask("DELETE", "/status", token=token).code == 401  # whatever the route
    assert web.commands == []


def test_where_no_token_is_set_nothing_changes_and_that_is_explained():
    web = Web(token=None)
    for token in (None, "Bearer ", "Bearer None"):
        for refused in (web.change(token=token), web.thaw(token=token)):
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

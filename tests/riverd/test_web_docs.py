"""The page of the HTTP interface: all of it, and nothing from elsewhere."""

import json
import re
from html.parser import HTMLParser

from riverd.web.docs_page import docs_page
from tests.riverd.web import Web

FETCHED = {"src", "srcset", "data", "poster", "action", "background"}  # attributes whose target a browser loads


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.fetched, self.open, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.links += [value for name, value in attrs if tag == "a" and name == "href"]
        self.fetched += [(tag, name) for name, _ in attrs if name in FETCHED or (tag == "link" and name == "href")]
        assert tag not in ("script", "iframe", "object")

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)
        else:
            assert "url(" not in data
            assert "@import" not in data


def test_the_page_has_every_route_and_fetches_nothing():
    answer = Web().ask("GET", "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = Page(answer.body.decode())
    assert page.fetched == []
    schema = json.loads(Web().ask("GET", "/openapi.json").body)
    routes = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    assert ("POST", "/labels/thaw") in routes
    text = " ".join(page.texts)
    assert {(method, path) for method, path in routes if re.search(rf"{method}\s+{path}\b", text)} == routes
    assert {*page.links} == {"openapi.json", *(path[1:] for method, path in routes if method == "GET")}
    assert all(Web().ask("GET", f"/{link}").code == 200 for link in page.links)


def test_its_examples_are_calls_that_work_as_they_stand():
    text = "".join(Page(Web().ask("GET", "/docs").body.decode()).texts)
    assert (
        'curl -X POST http://here/learning -H "Authorization: Bearer $RIVERD_TOKEN" '
        "-H 'Content-Type: application/json' -d '{\"state\": \"paused\"}'"
    ) in text
    assert "curl http://here/status\n" in text


def test_what_a_stranger_sends_as_host_is_no_markup():
    schema = json.loads(Web().ask("GET", "/openapi.json").body)
    assert "<script" not in docs_page(schema, url="http://x/<script>alert(1)</script>")

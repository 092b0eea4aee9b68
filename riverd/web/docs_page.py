"""The page of the HTTP interface, made of its OpenAPI schema: plain HTML that fetches nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from riverd.web.token import VARIABLE

Schema = Mapping[str, Any]

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2rem 0 0; border-top: 1px solid #8888; padding-top: 1rem; font-size: 1.1rem }
pre, code { font: .875rem/1.5 ui-monospace, monospace }
pre { background: #8882; padding: .5rem .75rem; overflow-x: auto }
"""


def docs_page(schema: Schema, *, url: str) -> str:
    """The page as HTML.

    Parameters
    ----------
    schema
        The OpenAPI document.
    url
        Where the reader found riverd; the examples call it there.
    """
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1><p>{escape(schema['info']['description'])}</p>",
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>',
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts += _operation(schema, method.upper(), path, operation, url.rstrip("/"))
    return "\n".join([*parts, "</body></html>\n"])


def _operation(schema: Schema, method: str, path: str, operation: Schema, url: str) -> Iterator[str]:
    shown = f'<a href="{escape(path[1:])}">{escape(path)}</a>' if method == "GET" else escape(path)
    yield f"<h2>{escape(method)} {shown}</h2>\n<p>{escape(operation['description'])}</p>"
    guarded, body = "security" in operation, _body(schema, operation)
    for name, field in body.items():
        yield f"<p><code>{escape(name)}</code>: {escape(field.get('description', ''))}</p>"
    command = [f"curl {url}{path}"] if method == "GET" else [f"curl -X {method} {url}{path}"]
    if guarded:
        command.append(f'-H "Authorization: Bearer ${VARIABLE}"')
    example = _example(operation) or {name: field["enum"][0] for name, field in body.items()}
    if example:
        command += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(example)}'"]
    yield f"<pre>{escape(' '.join(command), quote=False)}</pre>"
    answers = [f"{code} {answer['description']}" for code, answer in sorted(operation["responses"].items())]
    yield f"<p>Answers: {escape(', '.join(answers))}.{' Needs the token.' if guarded else ''}</p>"


def _body(schema: Schema, operation: Schema) -> Schema:
    """The fields of the request's body, by name."""
    if "requestBody" not in operation or _example(operation):
        return {}
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return schema["components"]["schemas"][name]["properties"]


def _example(operation: Schema) -> Any:
    """The body of the request that the schema gives as an example, or None."""
    return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")

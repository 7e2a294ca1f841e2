"""The operations of the HTTP interface, from the OpenAPI document that a server gives."""

from __future__ import annotations

import json
from typing import Any

from latentserve.service.host.group import Group
from latentserve.service.http.openapi.document import describe
from latentserve.service.http.routes import Routes
from latentserve.service.serving import Serving
from latentserve.service.settings import Settings


def operations() -> str:
    """Markdown: a section for each operation, then one for each schema that they name."""
    document = json.loads(describe(Routes(Serving(Settings()), Group())))
    written = [
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "\n".join([*written, "## Schemas\n", *schemas])


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"## `{method.upper()} {path}`\n", operation["summary"] + "\n"]
    if "description" in operation:
        parts.append(operation["description"] + "\n")
    if operation["parameters"]:
        parts.append("| parameter | in | type | |\n|---|---|---|---|")
        for one in operation["parameters"]:
            schema = one["schema"]
            said = _cell(schema.get("description", ""))
            parts.append(f"| `{one['name']}` | {one['in']} | {_type(schema)} | {said} |")
        parts.append("")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"Body `{media}`: {_type(content['schema'])}\n")
        for name, example in content.get("examples", {}).items():
            parts.append(f"{name}:\n\n```json\n{json.dumps(example['value'])}\n```\n")
    parts.append("| status | answer | |\n|---|---|---|")
    for status, answer in operation["responses"].items():
        kinds = ", ".join(f"`{media}`" for media in answer["content"])
        named = {_type(of["schema"]) for of in answer["content"].values() if "$ref" in of["schema"]}
        parts.append(f"| {status} | {kinds} {' '.join(sorted(named))} | {_cell(answer['description'])} |")
    return "\n".join(parts) + "\n"


def _schema(name: str, schema: dict[str, Any]) -> str:
    parts = [f"### {name}\n"]
    if "description" in schema:
        parts.append(" ".join(schema["description"].split()) + "\n")
    required = schema.get("required", [])
    if "properties" not in schema:
        return "\n".join([*parts, _type(schema), ""])
    parts.append("| field | type | default | |\n|---|---|---|---|")
    for field, of in schema["properties"].items():
        default = "needed" if field in required else f"`{json.dumps(of['default'])}`" if "default" in of else ""
        parts.append(f"| `{field}` | {_type(of)} | {default} | {_cell(of.get('description', ''))} |")
    return "\n".join(parts) + "\n"


def _type(schema: dict[str, Any]) -> str:
    """What values are such, in a few words; a named schema as a link to its section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[several]))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in schema
    ]
    return " ".join([kind, *bounds])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

"""The pages on what is served: serialised once, and again when a model's state changes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from latentserve.service.bundle import read_bundle
from latentserve.service.http.catalogue import describe_model, list_models


class Models(list[Any]):
    def find(self, name: str, _version: None) -> Any:
        return next(model for model in self if model.name == name)


class Model(SimpleNamespace):
    __hash__ = object.__hash__
    __eq__ = object.__eq__


def test_a_page_is_the_same_bytes_until_a_state_changes(bundle: Path, plain_bundle: Path) -> None:
    bundles = [read_bundle(bundle), read_bundle(plain_bundle)]
    models: Any = Models(
        Model(name=one.manifest.name, version=one.manifest.version, fault=None, bundle=one) for one in bundles
    )
    page, described = list_models(models), describe_model(models, "toy")
    assert list_models(models) is page
    assert describe_model(models, "toy") is described
    told = orjson.loads(page)["models"]
    assert [model["name"] for model in told] == ["toy", "plain"]
    assert told[0]["labels"] == bundles[0].manifest.labels
    assert told[1]["conditions"] is None
    created = int(bundles[0].manifest.created.timestamp())
    entry = {"id": "toy", "object": "model", "created": created, "owned_by": "latentserve"}
    assert orjson.loads(page)["data"][0] == entry
    manifest = bundles[0].manifest.model_dump(mode="json")
    assert orjson.loads(described) == {**entry, **told[0], "manifest": manifest}
    models[0].fault = "golden samples differ"
    changed = orjson.loads(list_models(models))["models"][0]
    assert (changed["state"], changed["fault"]) == ("not ready", "golden samples differ")
    assert orjson.loads(describe_model(models, "toy"))["state"] == "not ready"
    models[0].fault = None
    assert list_models(models) == page

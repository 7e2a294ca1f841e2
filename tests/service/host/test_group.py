"""Readiness is the group's."""

from __future__ import annotations

from latentserve.service.host.group import Group, Health


def test_a_process_of_its_own_is_ready_as_it_is_itself() -> None:
    assert Group().ready
    assert not Group(examine=lambda: Health(ready=False)).ready


def test_a_server_is_ready_while_another_worker_is() -> None:
    group = Group(size=2, others=1, examine=lambda: Health(ready=False, fault="its probes fail"))
    assert group.ready
    assert group.workers == 1


def test_a_server_that_drains_is_not_ready() -> None:
    assert not Group(size=2, others=1, draining=True).ready

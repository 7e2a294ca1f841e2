"""Which GPUs there are for the workers."""

from __future__ import annotations

from latentserve.service.commands.serve import worker_device
from latentserve.service.sampling.devices import visible_devices


def test_stated_devices_are_taken_as_they_are() -> None:
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "3, GPU-8932f937,MIG-1"}) == ["3", "GPU-8932f937", "MIG-1"]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "0,-1,1"}) == ["0"]  # CUDA reads no further


def test_a_worker_has_the_device_of_its_place_modulo_their_number() -> None:
    assert [worker_device(index, ["0", "1", "2"]) for index in range(5)] == [
        {"CUDA_VISIBLE_DEVICES": device} for device in "01201"
    ]
    assert worker_device(3, []) == {}

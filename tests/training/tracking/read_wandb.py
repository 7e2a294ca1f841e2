"""Print what the offline runs in a folder hold, as JSON: `python read_wandb.py FOLDER`."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2

HEADER, BLOCK = 7, 32 << 10  # bytes, of LevelDB's log, as which the file is written


def records(content: bytes) -> Iterator[bytes]:
    """Each begins with a checksum, a length, and which part it is of how many: all, the first, a middle, the last."""
    at, whole = HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, part = struct.unpack_from("<IHB", content, at)
        whole += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if part in (1, 4):
            yield whole
            whole = b""


found = []
for file in sorted(Path(sys.argv[1]).glob("offline-run-*/run-*.wandb")):
    one = {"id": None, "frechet": [], "pictures": [], "exit": None}
    for content in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            one |= {"id": record.run.run_id, "project": record.run.project, "name": record.run.display_name}
        if kind == "exit":
            one["exit"] = record.exit.exit_code
        if kind == "history":
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            step = values.get("_step", record.history.step.num)
            if "frechet" in values:
                one["frechet"].append([step, values["frechet"]])
            one["pictures"] += [[step, name] for name in ("samples", "reals") if name in values]
    found.append(one)
print(json.dumps(found))

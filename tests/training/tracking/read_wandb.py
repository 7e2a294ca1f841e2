"""Print what the offline runs in a folder hold, as JSON: `python read_wandb.py FOLDER`."""

import json
import sys
from pathlib import Path

from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore

found = []
for file in sorted(Path(sys.argv[1]).glob("offline-run-*/run-*.wandb")):
    store = DataStore()
    store.open_for_scan(str(file))
    one = {"id": None, "frechet": [], "pictures": [], "exit": None}
    while (content := store.scan_data()) is not None:
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

"""Print what MLflow knows of a run, as JSON: `python read_mlflow.py RUN_ID`."""

import json
import sys

from mlflow import MlflowClient

client = MlflowClient()
run = client.get_run(sys.argv[1])
print(
    json.dumps(
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "experiment": client.get_experiment(run.info.experiment_id).name,
            "lr": run.data.params["lr.start"],
            "frechet": [[one.step, one.value] for one in client.get_metric_history(run.info.run_id, "frechet")],
            "pictures": sorted(file.path for file in client.list_artifacts(run.info.run_id, "images")),
        }
    )
)

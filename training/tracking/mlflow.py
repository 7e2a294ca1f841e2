"""MLflow: a run of the experiment MLFLOW_EXPERIMENT_NAME (`latentserve`) where MLFLOW_TRACKING_URI says."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from PIL import Image

from latentserve.training.tracking import Ending, Tracked

AT_ONCE = 100  # metrics or parameters of one request; MLflow takes no more parameters
STATUS = {"finished": "FINISHED", "saved": "KILLED", "failed": "FAILED"}


class MLflow:
    """Metrics by the names of a line's fields, steps in images, the configuration as parameters, pictures by step."""

    id: str

    def __init__(self, run: Tracked) -> None:
        self._client = MlflowClient()
        if run.id is not None:
            self.id = run.id
            self._client.update_run(self.id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "latentserve")
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        tags = {"latentserve.recipe": run.recipe}
        self.id = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        parameters = [Param(key, str(value)) for key, value in run.flat.items()]
        for start in range(0, len(parameters), AT_ONCE):
            self._client.log_batch(self.id, params=parameters[start : start + AT_ONCE])

    def line(self, images: int, line: Mapping[str, float]) -> None:
        now = round(1000 * line.get("timestamp", time.time()))
        metrics = [Metric(name, value, now, images) for name, value in line.items()]
        for start in range(0, len(metrics), AT_ONCE):
            self._client.log_batch(self.id, metrics=metrics[start : start + AT_ONCE])

    def picture(self, images: int, name: str, path: Path) -> None:
        with Image.open(path) as picture:
            self._client.log_image(self.id, picture.convert("RGB"), key=name, step=images)

    def close(self, ending: Ending) -> None:
        self._client.set_terminated(self.id, STATUS[ending])


def track(run: Tracked) -> MLflow:
    """Raises ModuleNotFoundError: MLflow is not installed; MlflowException: the run of before is gone, for example."""
    return MLflow(run)

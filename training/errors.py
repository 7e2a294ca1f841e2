"""The mistakes a user can make around training. Each message is one line that names the file or the field."""

from latentserve.service.errors import LatentserveError


class TrainingError(LatentserveError):
    """Base of every error whose message is meant for the user, without a traceback."""


class ConfigError(TrainingError):
    """A recipe, a configuration file or a `--set` that does not describe a run."""


class DataError(TrainingError):
    """A data set that is missing, unreadable, empty or not what its format promises."""


class NoHeldOutError(DataError):
    """A data set that has no held-out part, and does not pretend to."""


class NoRoomError(DataError):
    """Decoded data that a disk has no room for."""


class RunError(TrainingError):
    """A run folder that cannot be started, resumed or exported."""


class MetricsPortError(TrainingError):
    """A port that the metrics of a run cannot be served at."""


class WeightsError(TrainingError):
    """A file of pre-trained weights that cannot be read, or is of other networks."""


class LostRankError(TrainingError):
    """Another process of a distributed run that has died, or does not answer."""


class DivergedError(TrainingError):
    """Losses or gradients that are no longer finite numbers."""


class ExportError(TrainingError):
    """A network that cannot become a faithful ONNX graph."""


class FeaturesError(TrainingError):
    """A pre-trained network whose features samples cannot be compared in."""


class ReportError(TrainingError):
    """A report that cannot be made or written."""

"""A generator, of a run or of anybody's, exported as a bundle."""

from latentserve.training.export.module import export_bundle
from latentserve.training.export.run import export_run

__all__ = ["export_bundle", "export_run"]

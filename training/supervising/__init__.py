"""The supervisor: sees a run's lines of `stats.jsonl`, and nothing else, and says what to do about a run that fails.

It acts on failures that last, not on every wiggle, and seldom: a run that goes well is never touched. What it does is
a function of the configuration and of the lines, so that the journal can be made again from `stats.jsonl`. It needs no
torch.
"""

from latentserve.training.supervising.detectors import FAULTS
from latentserve.training.supervising.journal import Action, Journal, read_journal
from latentserve.training.supervising.remedies import Changes
from latentserve.training.supervising.supervisor import Supervisor, replay

__all__ = ["FAULTS", "Action", "Changes", "Journal", "Supervisor", "read_journal", "replay"]

"""`journal.jsonl`: a line for each thing that the supervisor did, or would have done."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latentserve.training.errors import RunError
from latentserve.training.files import append_lines, read_lines, replace_lines

JOURNAL = "journal.jsonl"
FORMAT = 1


@dataclass(frozen=True)
class Action:
    """One entry of the journal.

    Attributes:
        images: real images seen when it was decided.
        fault: what was found, one of `latentserve.training.supervising.FAULTS`.
        signal: what was read.
        window: its last values, the newest last.
        threshold: what they were held against.
        action: `skip` (done by the loop already), `tell`, `lr`, `critic_lr`, `gamma`, `clip`, `n_critic`, `loss`,
            `critic` (it gets new weights), `augment`, `rollback` or `stop`.
        before, after: the value that is changed, factors of the configuration's where `Changes` says so; of a rollback
            the images that the state goes back from and to.
        applied: whether the run was changed; not where the supervisor only observes, or tells.
    """

    images: int
    fault: str
    signal: str
    window: tuple[float, ...]
    threshold: float
    action: str
    before: Any
    after: Any
    applied: bool


class Journal:
    """The journal of a run's folder, to be written on."""

    def __init__(self, folder: Path, images_seen: int) -> None:
        """Go on after `images_seen`; later entries, left by a sitting that was not saved, are dropped.

        Raises RunError naming a journal of another version.
        """
        self.path = folder / JOURNAL
        kept = [action for action in read_journal(folder) if action.images <= images_seen]
        if self.path.exists():
            replace_lines(self.path, map(_line, kept))

    def write(self, actions: Iterable[Action]) -> None:
        append_lines(self.path, map(_line, actions))


def read_journal(folder: Path) -> list[Action]:
    """What was written so far; none where there is no journal. A last line that was cut in the middle is left out.

    Raises RunError naming a journal of another version.
    """
    path = folder / JOURNAL
    actions = []
    for line in read_lines(path):
        try:
            values = json.loads(line)
            version = values.pop("format")
            if version != FORMAT:
                raise RunError(f"{path}: a journal of version {version}; this latentserve reads version {FORMAT}")
            actions.append(Action(**{**values, "window": tuple(values["window"])}))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"{path}: not a journal: {line[:80]}") from None
    return actions


def _line(action: Action) -> dict[str, Any]:
    return {"format": FORMAT} | asdict(action)

"""What a supervisor did, in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Literal

from latentserve.training.supervising.journal import Action


@dataclass(frozen=True)
class Supervision:
    """What the supervisor of a run wrote down.

    Attributes:
        mode: what the run's configuration lets it do.
        actions: its journal; None where that cannot be read.
        unread: why not, in a line.
    """

    mode: Literal["act", "observe", "off"]
    actions: list[Action] | None
    unread: str | None = None

    @property
    def sentence(self) -> str:
        """Whether there was a supervisor, what it found, and whether it changed anything."""
        if self.actions is None:
            return f"What the supervisor did is not known: {self.unread}."
        if not self.actions:
            return {
                "off": "No supervisor watched the training.",
                "observe": "The supervisor watched the training, as an observer only, and found nothing wrong.",
                "act": "The supervisor watched the training, found nothing wrong, and changed nothing.",
            }[self.mode]
        found = _findings(self.actions)
        faults = list(dict.fromkeys(each[0].fault for each in found))
        changed = sum(any(_changes(action) for action in each) for each in found)
        wished = sum(any(not action.applied and action.action != "tell" for action in each) for each in found)
        if changed:
            acted = f"changed the training {_times(changed)}"
        elif wished:
            acted = f"changed nothing, as it was there to observe; it would have acted {_times(wished)}"
        else:
            acted = "changed nothing"
        end = next((action.images for action in self.actions if action.action == "stop" and action.applied), None)
        ended = "" if end is None else f"; it ended the training early, at {end:,} images"
        return f"The supervisor found something wrong {_times(len(found))} ({', '.join(faults)}), and {acted}{ended}."

    @property
    def events(self) -> list[str]:
        """Each thing that was found: when, by what sign, and what was done about it."""
        return [_event(each) for each in _findings(self.actions or [])]

    @property
    def findings(self) -> list[tuple[int, str, bool]]:
        """Of each event the images at which it was, its sentence, and whether it changed the run."""
        found = _findings(self.actions or [])
        return [(each[0].images, _event(each), any(map(_changes, each))) for each in found]

    @property
    def changes(self) -> list[int]:
        """Images at which it changed the run."""
        return list(dict.fromkeys(action.images for action in self.actions or [] if _changes(action)))

    def to_json(self) -> list[dict[str, Any]] | None:
        """What report.json says: None where nobody watched, or nothing is known."""
        if self.actions is None or (self.mode == "off" and not self.actions):
            return None
        return [asdict(action) for action in self.actions]


# Each action by its name in the journal, told by verbs whose past tense is their participle, too: `it would have` may
# stand before them.
DEEDS = {
    "skip": "skipped {after} steps whose losses or gradients were no finite numbers",
    "tell": "changed nothing, having no remedy left",
    "lr": "{moved} the generator's learning rate from {before:.3g} to {after:.3g} times the configured one",
    "critic_lr": "{moved} the critic's learning rate from {before:.3g} to {after:.3g} times the configured one",
    "gamma": "{moved} the weight of the penalties of the critic's gradients (gamma) from {before:.3g} to {after:.3g} "
    "times its first value",
    "clip": "limited the norm of gradients to {after:.3g} (before: {before:.3g})",
    "n_critic": "{moved} the critic's steps for each of the generator's from {before:.3g} to {after:.3g}",
    "loss": "replaced the loss {before} by {after}",
    "critic": "replaced the critic's weights by new ones",
    "augment": "turned on augmentation ({names})",
    "rollback": "returned the training from {before:,} images to the best state, at {after:,} images",
    "stop": "ended the training early",
}
# The same where there was nothing before, or nothing to return to.
_FROM_NOTHING = {
    "gamma": "turned on the penalties of the critic's gradients (gamma), with their default weight",
    "clip": "limited the norm of gradients to {after:.3g} (before: no limit)",
}
_TO_NOTHING = {"rollback": "returned the training from {before:,} images to its beginning"}
_OF_A_LATER_VERSION = "changed {name} from {before} to {after}"  # whose journals are of the same version


def _findings(actions: Sequence[Action]) -> list[list[Action]]:
    """Actions by what they are about: one fault at one time."""
    return [list(each) for _, each in groupby(actions, key=lambda action: (action.images, action.fault))]


def _changes(action: Action) -> bool:
    """Whether the supervisor changed the run: steps that are not finite are skipped by the loop, with or without it."""
    return action.applied and action.action not in ("skip", "tell")


def _event(actions: Sequence[Action]) -> str:
    first = actions[0]
    value = f" {_short(first.window[-1])}" if first.window else ""
    seen = f"At {first.images:,} images: {first.fault} ({first.signal}{value}; limit {_short(first.threshold)})."
    deeds = [deed(action.action, action.before, action.after) for action in actions]
    observed = not first.applied and first.action != "tell"
    return f"{seen} It {'would have ' if observed else ''}{_listed(deeds)}."


def deed(name: str, before: Any, after: Any) -> str:
    """What was done, in words."""
    words = DEEDS.get(name, _OF_A_LATER_VERSION)
    words = words if before else _FROM_NOTHING.get(name, words)
    words = words if after else _TO_NOTHING.get(name, words)
    numbers = isinstance(before, int | float) and isinstance(after, int | float)
    return words.format(
        name=name,
        before=before,
        after=after,
        moved="raised" if numbers and after > before else "lowered",
        names=", ".join(after) if isinstance(after, list | tuple) else after,
    )


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f", and {words[-1]}" if words[1:] else words[0]


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _short(value: float) -> str:
    return f"{value:.3g}"

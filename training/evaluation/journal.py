"""What a run's folder tells of its training: the supervisor's journal and the lines of stats.jsonl.

Both are read as they come: a line that is cut, or of another version, is left out, and so is a file that is not there.
"""

import json
from pathlib import Path
from typing import Any

JOURNAL = "journal.jsonl"
STATS = "stats.jsonl"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file of lines."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def supervision(run: Path) -> list[dict[str, Any]] | None:
    """The entries of the supervisor's journal that say what was found or done; None where no supervisor kept one."""
    if not (run / JOURNAL).is_file():
        return None
    return [line for line in read_lines(run / JOURNAL) if "action" in line or "fault" in line]


def told(actions: list[dict[str, Any]] | None) -> str:
    """What the supervisor did, in a sentence."""
    if actions is None:
        return "No supervisor's journal is there: none watched the training, or it found nothing to write down."
    if not actions:
        return "The supervisor watched the training and found nothing to do."
    changed = [action for action in actions if action.get("applied", True)]
    faults = list(dict.fromkeys(str(action.get("fault", "something")).replace("_", " ") for action in actions))
    many = "once" if len(actions) == 1 else f"{len(actions)} times"
    acted = "it changed nothing" if not changed else f"it changed the training {len(changed)} of these times"
    if len(changed) == len(actions):
        acted = "it changed the training each time"
    return f"The supervisor found something wrong {many} ({', '.join(faults)}), and {acted}; see its journal below."

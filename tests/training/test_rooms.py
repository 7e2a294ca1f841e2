"""Who may know whom within `training/`: its rooms have an order, and no two of them know each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[2] / "training"

# Each room and the rooms it may import; what is not a room (errors, files, distributed) is open to all.
KNOWS = {
    "recipe": set(),
    "data": {"recipe"},
    "networks": {"recipe", "data"},
    "supervising": {"recipe"},
    "reporting": {"recipe", "data", "supervising"},
    "watching": {"recipe", "data", "game"},
    "game": {"recipe", "reporting"},
    "run": {"recipe", "data", "networks", "supervising", "reporting", "watching", "game"},
    "tracking": set(),
    "evaluation": {"recipe", "data", "networks", "supervising", "reporting", "watching", "run"},
    "export": {"recipe", "data", "networks", "reporting", "run", "evaluation"},
}


def imports(file: Path) -> Iterator[str]:
    """The modules a file imports, and what it imports from them, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_its_place() -> None:
    assert {path.parent.name for path in TRAINING.glob("*/__init__.py")} == KNOWS.keys()


@pytest.mark.parametrize("room", KNOWS)
def test_data_flows_one_way(room: str) -> None:
    for file in (TRAINING / room).rglob("*.py"):
        for name in imports(file):
            other = name.split(".")[2] if name.startswith("latentserve.training.") else ""
            assert other not in KNOWS or other == room or other in KNOWS[room], f"{file} imports {name}"


@pytest.mark.parametrize(
    "file", [*(TRAINING / "recipe").glob("*.py"), *(TRAINING / "supervising").glob("*.py")], ids=str
)
def test_recipes_and_the_supervisor_need_no_torch(file: Path) -> None:
    assert "torch" not in {name.split(".")[0] for name in imports(file)}

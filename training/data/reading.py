"""How files are to be read, where there is more than one way: a recipe's fields, or options of `latentserve train`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypedDict

from PIL import ImageColor

from latentserve.training.errors import DataError

Folders = Literal["auto", "classes", "innermost", "names", "none"]
Broken = Literal["refuse", "skip"]


class Options(TypedDict, total=False):
    """The keyword arguments of `load`, which are the attributes of a `Reading`."""

    size: int | None
    label: str | None
    conditions: bool
    folders: Folders
    broken: Broken
    background: str
    drop: tuple[str, ...]
    types: tuple[str, ...]
    hold_out: float


@dataclass(frozen=True)
class Reading:
    """What is told of the files.

    Attributes:
        size: side in pixels that pictures are brought to, or frames that audio is cut into; None: as they are.
        label: column that labels samples.
        conditions: whether samples keep the numbers that they are made for.
        folders: what folders are: classes, the innermost ones classes, none of them, or whichever they look like;
            `names` takes what names of files begin with as classes.
        broken: whether files that cannot be read, and pictures that a table of labels names and are not there, are
            refused or passed over.
        background: colour that transparent pictures are laid on, as CSS names or writes it.
        drop: columns that are left out.
        types: `COLUMN=TYPE` each: `number`, `category`, or how dates are written, such as `%d/%m/%Y`.
        hold_out: share of the samples that is held out where the data have no part for that.
        stated: the same, by column.
    """

    size: int | None = None
    label: str | None = None
    conditions: bool = True
    folders: Folders = "auto"
    broken: Broken = "refuse"
    background: str = "white"
    drop: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    hold_out: float = 0.0
    stated: Mapping[str, str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Raises DataError naming an option that says nothing."""
        stated = {}
        for each in self.types:
            column, equals, kind = each.rpartition("=")
            if not equals or not column or not (kind in ("number", "category") or "%" in kind):
                raise DataError(f"`types`: {each}: expected COLUMN=number, COLUMN=category or COLUMN=%d/%m/%Y")
            stated[column] = kind
        object.__setattr__(self, "stated", MappingProxyType(stated))
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise DataError(
                f"`background`: {self.background} is no colour; expected one like white or #ff8800"
            ) from None

    def refuse(self, what: str, *options: str) -> None:
        """Say which of these options was given and means nothing to `what`. Raises DataError."""
        for option in options:
            if getattr(self, option) != type(self).__dataclass_fields__[option].default:
                raise DataError(f"`{option}`: means nothing to {what}")

    def plain_folders(self) -> "Reading":
        """The same, of folders that are no classes."""
        return replace(self, folders="none")

    def given(self) -> dict[str, Any]:
        """The options, as `Options` has them."""
        return {name: getattr(self, name) for name in Options.__annotations__}

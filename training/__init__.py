"""Training generators, and exporting them as bundles that the server can load."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from latentserve.training.export.ctgan import from_ctgan as from_ctgan

__all__ = ["from_ctgan"]


def __getattr__(name: str) -> object:
    """`from_ctgan`, when it is asked for: nothing else here needs what it imports."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from latentserve.training.export import ctgan

    return getattr(ctgan, name)

"""Which tests run in one process, one after the other."""

from xdist.scheduler import LoadFileScheduling

# Folders whose files share a server that takes as long to start as a file of tests to run.
TOGETHER = ("tests/service/http/ui/",)


class LoadRoomScheduling(LoadFileScheduling):
    """Those of a file, as `--dist loadfile` has it, and those of a folder that shares a server."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))

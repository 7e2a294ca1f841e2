"""Workers as processes under a supervisor that is one too: who answers, who comes in whose place, and how all end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from latentserve.service.watching.workers import starts
from tests.server import free_port

TOP = Path(__file__).parents[3]
PATIENCE = 30.0  # seconds, of which a machine that is not busy takes few; less than what is under way would take
Answer = tuple[int, dict[str, Any], str | None]  # status, facts, the header `Connection`


class Supervised:
    """A supervisor and its workers, in processes of their own, until the block ends."""

    def __init__(self, folder: Path, *, ready: bool = True, lent: socket.socket | None = None, **plan: Any) -> None:
        self._lent = [] if lent is None else [lent.fileno()]
        if lent is not None:
            plan["lent"] = lent.fileno()
        self.port = free_port() if lent is None else lent.getsockname()[1]
        self.faults, self.work = folder / "faults", folder / "work"
        for each in (self.faults, self.work):
            each.mkdir(exist_ok=True)
        self.log = folder / "log"
        self._plan = json.dumps(plan)
        self._ready = ready

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.service.host.supervise", str(self.port), str(self.work), self._plan],
                cwd=TOP,
                env={**os.environ, "PYTHONPATH": str(TOP), "FAULTS": str(self.faults)},
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._lent,
            )
        if self._ready:
            self.wait_for(lambda: self.workers_ready() == json.loads(self._plan).get("workers", 1))
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def client(self) -> http.client.HTTPConnection:
        """A connection that is kept."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, path: str = "/", client: http.client.HTTPConnection | None = None) -> Answer:
        """An answer; on a connection of its own, unless one is given."""
        line = client or self.client()
        line.request("GET", path)
        answer = line.getresponse()
        content = answer.read()
        if client is None:
            line.close()
        kind = answer.headers.get_content_type()
        return answer.status, json.loads(content) if kind != "text/html" else {}, answer.headers["connection"]

    def asking(self, pool: ThreadPoolExecutor, path: str) -> Future[Answer]:
        """A request that a worker has begun to answer."""
        before = self._reached()
        asked = pool.submit(self.ask, path)
        self.wait_for(lambda: self._reached() > before)
        return asked

    def _reached(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return (self.faults / "reached").stat().st_size
        return 0

    def hold(self, pool: ThreadPoolExecutor) -> Future[Answer]:
        """A request that is under way until `let_go`."""
        (self.faults / "hold").touch()
        return self.asking(pool, "/hold")

    def let_go(self) -> None:
        """Have what is held answered."""
        (self.faults / "hold").unlink()

    def workers_ready(self) -> int:
        """How many workers are ready, as one of them says; 0 where none says so."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return int(self.ask()[1].get("workers", 0))
        return 0

    def pids(self) -> set[int]:
        """The workers that there are, ready or not."""
        listed = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return {int(line) for line in listed.stdout.split()}

    def text(self) -> str:
        """What it has written so far."""
        return self.log.read_text()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    with Supervised(tmp_path_factory.mktemp("pair"), workers=2, orphan=True) as running:
        yield running


def test_processes_that_were_left_to_it_are_let_go_of(pair: Supervised) -> None:
    """As to the first process of a container: else they would stay, ended, for ever."""
    pair.wait_for(lambda: len(pair.pids()) == 2)


def test_connections_go_to_the_worker_with_the_fewest(pair: Supervised) -> None:
    kept = [pair.client() for _ in range(32)]
    seen = Counter(pair.ask(client=one)[1]["index"] for one in kept)
    assert abs(seen[0] - seen[1]) <= 2  # one that was closed just before may still count
    for one in kept:
        one.close()


def test_nothing_is_imported_from_where_a_worker_works(pair: Supervised) -> None:
    _, facts, _ = pair.ask()
    assert facts["folder"] == str(pair.work)
    assert not {"", ".", str(pair.work), str(TOP / "service" / "host")} & set(facts["path"])


def busy(server: Supervised, ending: threading.Event, last: dict[int, int], number: int) -> Counter[str]:
    """A client that keeps its connection, and makes a new one when it is lost; who answered it last is in `last`."""
    seen: Counter[str] = Counter()
    line = server.client()
    while not ending.is_set():
        try:
            status, facts, _ = server.ask("/sleep=0.02", line)
            seen[str(status)] += 1
            last[number] = facts["pid"]
        except (OSError, http.client.HTTPException) as error:
            seen[type(error).__name__] += 1
            line.close()
            time.sleep(0.01)
    line.close()
    return seen


def test_busy_connections_are_shared_again_after_a_worker_was_killed(pair: Supervised) -> None:
    before = pair.pids()
    started = starts(pair.faults)
    victim = min(before)
    ending, last = threading.Event(), dict[int, int]()
    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(busy, pair, ending, last, number) for number in range(8)]
        try:
            pair.wait_for(lambda: len(last) == 8)
            os.kill(victim, signal.SIGKILL)
            pair.wait_for(lambda: pair.workers_ready() == 2 and pair.pids().isdisjoint({victim}))
            pair.wait_for(lambda: sorted(Counter(last.values()).values()) == [4, 4] and victim not in last.values())
        finally:
            ending.set()
        seen = sum((client.result() for client in clients), Counter[str]())
    assert set(seen) <= {"200", "ConnectionResetError", "RemoteDisconnected"}
    # Those that were with the one that was killed; on a busy machine they come back before it is known to be gone.
    assert sum(seen.values()) - seen["200"] <= 8
    assert starts(pair.faults) == started + 1
    assert f'worker_pid={victim} reason="killed by SIGKILL (out of memory?)"' in pair.text()


def test_connections_that_a_killed_worker_has_not_taken_go_to_another(pair: Supervised) -> None:
    victim, other = sorted(pair.pids())
    os.kill(victim, signal.SIGSTOP)
    lines = [pair.client() for _ in range(6)]
    for line in lines:
        line.request("GET", "/")  # half of them wait at the worker that does nothing any more
    time.sleep(0.2)
    os.kill(victim, signal.SIGKILL)
    answers = [line.getresponse() for line in lines]
    assert [answer.status for answer in answers] == [200] * 6
    for line in lines:
        line.close()
    pair.wait_for(lambda: pair.workers_ready() == 2)
    assert other in pair.pids()


def test_a_worker_that_says_nothing_gets_no_connections(pair: Supervised) -> None:
    frozen, other = sorted(pair.pids())
    os.kill(frozen, signal.SIGSTOP)
    try:
        time.sleep(2.3)
        assert {pair.ask()[1]["pid"] for _ in range(6)} == {other}
    finally:
        os.kill(frozen, signal.SIGCONT)
    pair.wait_for(lambda: {pair.ask()[1]["pid"] for _ in range(6)} == {frozen, other})


def test_what_asks_others_to_reopen_their_logs_or_to_be_quiet_ends_nobody(pair: Supervised) -> None:
    before = pair.pids()
    for pid in (pair.process.pid, *before):
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTOU, signal.SIGTTIN):
            os.kill(pid, number)
    for pid in before:
        # As terminals and `timeout` send them to all; what they mean is for the supervisor to say.
        for number in (signal.SIGQUIT, signal.SIGALRM, signal.SIGPWR):
            os.kill(pid, number)
    time.sleep(0.3)
    assert pair.pids() == before
    assert pair.ask()[0] == 200


def test_a_worker_that_is_told_to_end_is_replaced_and_nobody_notices(pair: Supervised) -> None:
    victim = min(pair.pids())
    ending, last = threading.Event(), dict[int, int]()
    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(busy, pair, ending, last, number) for number in range(4)]
        pair.wait_for(lambda: len(last) == 4)
        os.kill(victim, signal.SIGTERM)
        pair.wait_for(lambda: victim not in pair.pids() and pair.workers_ready() == 2)
        ending.set()
        seen = sum((client.result() for client in clients), Counter[str]())
    assert set(seen) == {"200"}


def test_a_faulty_worker_is_replaced_and_its_idle_connections_live_on(pair: Supervised) -> None:
    kept = [pair.client() for _ in range(4)]
    faulty = pair.ask("/fault", kept[0])[1]["pid"]
    for one in kept[1:]:
        pair.ask(client=one)
    pair.wait_for(lambda: faulty not in pair.pids() and pair.workers_ready() == 2)
    assert "it was told that it is faulty" in pair.text()
    for one in kept:
        status, facts, _ = pair.ask(client=one)
        assert status == 200
        assert facts["pid"] != faulty
        one.close()


def test_the_port_is_open_when_a_worker_is_ready_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so a service manager is told (`Type=notify` of systemd)."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "manager"))
    manager.settimeout(60)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "manager"))
    with manager, Supervised(tmp_path, ready=False) as server:
        (server.faults / "slow").touch()
        server.wait_for(lambda: len(server.pids()) == 1)
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            server.ask()
        assert select.select([manager], [], [], 0)[0] == []
        (server.faults / "slow").unlink()
        assert manager.recv(100) == b"READY=1"
        assert server.ask()[0] == 200
        server.process.terminate()
        assert manager.recv(100) == b"STOPPING=1"


def test_a_first_worker_that_cannot_start_ends_it_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "start").write_text("generator.onnx: it is damaged")
    with Supervised(tmp_path, ready=False, workers=2) as server:
        assert server.process.wait(PATIENCE) == 1
        assert server.text() == "generator.onnx: it is damaged\n"


def test_a_first_worker_that_is_killed_is_told_as_such(tmp_path: Path) -> None:
    """As where its container has too little memory to load in."""
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "slow").touch()
    with Supervised(tmp_path, ready=False) as server:
        server.wait_for(lambda: bool(server.pids()))
        os.kill(server.pids().pop(), signal.SIGKILL)
        assert server.process.wait(PATIENCE) == 1
        assert server.text() == "a worker was lost: killed by SIGKILL (out of memory?)\n"


def test_a_worker_that_dies_before_it_is_up_counts_as_a_restart(tmp_path: Path) -> None:
    with Supervised(tmp_path) as server:
        (server.faults / "slow").touch()
        for _ in range(3):
            (worker,) = server.pids()
            os.kill(worker, signal.SIGKILL)
            server.wait_for(lambda worker=worker: bool(server.pids() - {worker}))  # type: ignore[misc]
        (server.faults / "slow").unlink()
        status, _, _ = server.ask()  # it waits until there is a worker again
        assert status == 200
        assert starts(server.faults) == 4


def test_when_no_worker_can_run_any_more_it_ends_with_the_cause(tmp_path: Path) -> None:
    with Supervised(tmp_path, give_up_seconds=1) as server:
        (server.faults / "start").write_text("generator.onnx: it is damaged")
        (worker,) = server.pids()
        os.kill(worker, signal.SIGKILL)
        assert server.process.wait(PATIENCE) == 1
        assert server.text().splitlines()[-1] == "no worker can run any more: generator.onnx: it is damaged"
        assert len(server.text().splitlines()) < 12


def test_workers_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with Supervised(tmp_path, workers=2) as server:
        workers = server.pids()
        server.process.kill()
        server.process.wait()
        server.wait_for(lambda: not any(Path(f"/proc/{pid}/fd").exists() for pid in workers))


def test_a_worker_whose_loop_is_dead_is_replaced(tmp_path: Path) -> None:
    with Supervised(tmp_path, hang_seconds=0.6) as server:
        (before,) = server.pids()
        with contextlib.closing(server.client()) as line:
            line.request("GET", "/block=60")
            server.wait_for(lambda: before not in server.pids())
        assert server.ask()[1]["pid"] != before


@pytest.mark.parametrize(
    "signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGALRM]
)
def test_a_stop_answers_what_is_under_way_and_tells_what_comes(tmp_path: Path, signal_number: int) -> None:
    with Supervised(tmp_path, workers=2) as server, ThreadPoolExecutor(2) as pool:
        idle, kept = server.client(), server.client()
        server.ask(client=idle)
        server.ask(client=kept)
        under_way = server.hold(pool)
        server.process.send_signal(signal_number)
        server.wait_for(lambda: server.ask()[0] == 503)  # while it goes on listening
        status, facts, connection = server.ask(client=kept)
        assert (status, facts["ready"], connection) == (503, False, "close")
        server.let_go()
        assert under_way.result()[0] == 200
        assert server.process.wait(PATIENCE) == 0
        with pytest.raises(ConnectionRefusedError):
            server.ask()


def test_who_connects_between_two_servers_on_a_socket_of_somebody_elses_waits(tmp_path: Path) -> None:
    """As `systemctl restart` has it where a `.socket` unit listens: the one that stops accepts nobody any more, and
    leaves the socket as it was to the one that comes."""
    with socket.create_server(("127.0.0.1", 0)) as lent:
        with Supervised(tmp_path, lent=lent) as first, ThreadPoolExecutor(1) as pool:
            held = first.hold(pool)
            first.process.terminate()
            first.wait_for(lambda: "draining" in first.text())
            waiting = first.client()
            waiting.request("GET", "/")
            first.let_go()
            assert held.result()[0] == 200
            assert first.process.wait(PATIENCE) == 0
        with Supervised(tmp_path, lent=lent):
            assert waiting.getresponse().status == 200
            waiting.close()


def test_nobody_is_accepted_and_reset_at_the_end(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def connect_anew(server: Supervised) -> None:
        while True:
            try:
                seen[str(server.ask()[0])] += 1
            except ConnectionRefusedError:
                return
            except (OSError, http.client.HTTPException) as error:
                seen[type(error).__name__] += 1

    with Supervised(tmp_path, workers=2) as server, ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(connect_anew, server) for _ in range(5)]
        under_way = pool.submit(server.ask, "/sleep=1")
        time.sleep(0.5)
        server.process.terminate()
        for client in clients:
            client.result()
        assert under_way.result()[0] == 200
        assert server.process.wait(PATIENCE) == 0
    assert set(seen) == {"200", "503"}


def test_a_worker_that_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    with Supervised(tmp_path, ready=False, unrunnable=True) as server:
        assert server.process.wait(PATIENCE) == 1
    absent = tmp_path / "work" / "none"
    assert server.text() == f"a worker cannot be started: {absent}: No such file or directory\n"


def test_without_time_to_drain_it_ends_at_once(tmp_path: Path) -> None:
    with Supervised(tmp_path, drain_seconds=0) as server, ThreadPoolExecutor(1) as pool:
        under_way = server.asking(pool, "/sleep=60")
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
        with pytest.raises((OSError, http.client.HTTPException)):
            under_way.result()


def test_a_worker_that_cannot_end_is_ended(tmp_path: Path) -> None:
    """Soon after its time is over."""
    with Supervised(tmp_path, drain_seconds=1) as server, ThreadPoolExecutor(1) as pool:
        (server.faults / "stuck").touch()
        under_way = server.asking(pool, "/sleep=60")
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
        with pytest.raises((OSError, http.client.HTTPException)):
            under_way.result()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with Supervised(tmp_path, drain_seconds=60) as server, ThreadPoolExecutor(1) as pool:
        under_way = server.asking(pool, "/sleep=60")
        server.process.terminate()
        server.wait_for(lambda: server.ask()[0] == 503)
        time.sleep(0.3)  # at once it would be the same one, sent to the process and to its group
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 128 + signal.SIGTERM
        with pytest.raises((OSError, http.client.HTTPException)):
            under_way.result()


def test_idle_connections_make_room_and_busy_ones_do_not(tmp_path: Path) -> None:
    with Supervised(tmp_path, limits={"connections": 4}) as server, ThreadPoolExecutor(4) as pool:
        idle = [server.client() for _ in range(4)]
        time.sleep(0.3)  # until it has heard that those which asked whether it is up have gone
        assert [server.ask(client=one)[0] for one in idle] == [200] * 4
        time.sleep(0.3)
        more = [server.client() for _ in range(2)]  # one of those that asked whether it is up may still be there
        assert [server.ask(client=one)[0] for one in more] == [200] * 2
        time.sleep(0.3)
        with pytest.raises((OSError, http.client.HTTPException)):
            server.ask(client=idle[0])  # the one that was idle for the longest time has gone
        for one in (*idle, *more):
            one.close()
        time.sleep(0.3)
        under_way = [server.hold(pool) for _ in range(4)]
        status, problem, connection = server.ask()
        assert (status, problem["type"], connection) == (503, "urn:problem-type:latentserve:not-ready", "close")
        first = " refused status=503 reason=not-ready client=127.0.0.1 request_id="
        server.wait_for(lambda: server.text().count(first) == 1)
        for _ in range(20):
            assert server.ask()[0] == 503
        server.wait_for(lambda: server.text().count(" refused ") == 10)
        server.let_go()
        assert [one.result()[0] for one in under_way] == [200] * 4
        turned_away = 21
        while server.ask()[0] == 503:  # it has not yet heard that there is room
            turned_away += 1
            time.sleep(0.05)
        server.wait_for(lambda: bool(server.ask()[1]["turned_away"] == turned_away))


def test_more_clients_at_once_than_a_busy_worker_can_be_told_of_wait(tmp_path: Path) -> None:
    """Of sockets that nobody has taken the kernel holds some hundreds."""
    with Supervised(tmp_path) as server, ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        blocked = server.asking(pool, "/block=1.5")
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30)) for _ in range(1000)]
        for line in lines:
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert Counter(line.recv(1 << 16)[:13] for line in lines) == {b"HTTP/1.1 200 ": 1000}
        assert blocked.result()[0] == 200
        assert server.text().count(" refused ") == 0


def test_who_waits_for_a_busy_worker_is_told_when_the_server_stops(tmp_path: Path) -> None:
    with (
        Supervised(tmp_path, drain_seconds=3) as server,
        ThreadPoolExecutor(1) as pool,
        contextlib.ExitStack() as stack,
    ):
        server.asking(pool, "/block=1.5")
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30)) for _ in range(1000)]
        for line in lines:
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        server.process.terminate()
        assert {line.recv(1 << 16)[:13] for line in lines} <= {b"HTTP/1.1 200 ", b"HTTP/1.1 503 "}
        assert server.process.wait(PATIENCE) == 0


def test_without_file_descriptors_it_waits_and_does_not_spin(tmp_path: Path) -> None:
    with Supervised(tmp_path) as server, contextlib.ExitStack() as stack:
        pid = server.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        line = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        before = cpu_seconds(pid)
        time.sleep(1)
        assert cpu_seconds(pid) - before < 0.3
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def cpu_seconds(pid: int) -> float:
    """What a process has used of a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""The supervisor, with real processes that die, hang, complain or leave children behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import environments, ports
from tests.waiting import until
from webhooks.console import shown
from webhooks.sandbox import shopify_sender

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and prctl")

SUPERVISE = """
import json, sys
from webhooks import reporting, supervisor
reporting.configure_logs()
vars(supervisor).update(json.loads(sys.argv[1]))
processes = [supervisor.Process(name, [sys.executable, "-c", code]) for name, code in json.loads(sys.argv[2])]
sys.exit(supervisor.supervise(processes))
"""
SLEEPS = "import time; time.sleep(60)"
IGNORES = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('I stay', flush=True)\n" + SLEEPS
)
NOTES_ITS_END = """
import pathlib, signal, sys, time
def end(number, frame):
    time.sleep({delay})
    with open({file!r}, "a") as file:
        file.write({name!r} + " " + signal.Signals(number).name + "\\n")
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, end)
print("{name} is there", flush=True)
time.sleep(60)
"""

Start = Callable[..., "Running"]


class Running:
    """A supervisor of our own, and what it writes."""

    def __init__(self, home: Path, number: int, processes: dict[str, str], **figures: float) -> None:
        self.out, self.err = home / f"out.{number}", home / f"err.{number}"
        command = [sys.executable, "-c", SUPERVISE, json.dumps(figures), json.dumps(list(processes.items()))]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)

    def logged(self, message: str) -> list[dict[str, object]]:
        """The log lines with that message."""
        lines = [line for line in self.out.read_text(errors="replace").splitlines() if line.startswith("{")]
        return [told for line in lines if (told := json.loads(line))["message"] == message]

    def pids(self) -> list[int]:
        """Of the processes that it started, in that order."""
        return [int(str(told["pid"])) for told in self.logged("a process started")]

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a supervisor of processes, ``{name: code}``; figures replace the supervisor's own."""
    begun: list[Running] = []

    def run(processes: dict[str, str], **figures: float) -> Running:
        begun.append(Running(tmp_path, len(begun), processes, **figures))
        return begun[-1]

    yield run
    for one in begun:
        one.process.kill()
        one.process.wait()
        for pid in one.pids():
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    """Whether there is such a process; a zombie is one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def state(pid: int) -> str:
    """Of a process, and its parent: ``S 1``; empty when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return f"{fields[0]} {fields[1]}"


# --- starting again ----------------------------------------------------------------------------------------


def test_a_killed_process_is_started_again(start: Start) -> None:
    running = start({"one": SLEEPS, "other": SLEEPS}, FIRST_PAUSE=0.1)
    until(lambda: len(running.pids()) == 2)
    os.kill(running.pids()[0], signal.SIGKILL)
    until(lambda: len(running.pids()) == 3)
    (told,) = running.logged("a process ended and is started again")
    assert (told["process"], told["exit"]) == ("one", -signal.SIGKILL)
    assert running.logged("a process started")[2]["process"] == "one"
    assert lives(running.pids()[1]), "the other was left alone"
    assert running.end() == 0
    assert not any(lives(pid) for pid in running.pids())


def test_who_has_been_up_is_started_again_for_ever(start: Start, tmp_path: Path) -> None:
    """Else an order that kills its worker at every start would end the web process, too."""
    once = f"""
import pathlib, time
mark = pathlib.Path({str(tmp_path / "mark")!r})
if not mark.exists():
    mark.touch()
    time.sleep(0.6)
"""
    figures = {"FIRST_PAUSE": 0.01, "LONGEST_PAUSE": 0.01, "EARLY_SECONDS": 0.5, "GIVE_UP": 2}
    running = start({"web": SLEEPS, "worker": once}, **figures)
    until(lambda: len(running.pids()) > 6)
    assert running.process.poll() is None
    assert lives(running.pids()[0])


def test_the_pause_before_a_start_doubles(start: Start) -> None:
    running = start({"one": "import sys; sys.exit(3)"}, FIRST_PAUSE=0.02, LONGEST_PAUSE=0.06)
    assert running.process.wait(10) == 1
    pauses = [told["seconds"] for told in running.logged("a process ended and is started again")]
    assert pauses == [0.02, 0.04, 0.06, 0.06]


def test_who_does_not_stay_up_is_given_up(start: Start) -> None:
    """With what it said last; the others are ended."""
    broken = "import sys; print('starting', flush=True); sys.exit('the disk is on fire')"
    running = start({"steady": SLEEPS, "broken": broken}, FIRST_PAUSE=0.01)
    assert running.process.wait(10) == 1
    assert running.err.read_text().splitlines()[:3] == [
        "broken ended 5 times right after its start. It said:",
        "  starting",
        "  the disk is on fire",
    ]
    assert not any(lives(pid) for pid in running.pids())


def test_one_that_fails_now_and_then_is_not_given_up(start: Start) -> None:
    """It stayed up for longer than a moment in between."""
    brief = {"brief": "import time; time.sleep(0.2)"}
    running = start(brief, FIRST_PAUSE=0.01, LONGEST_PAUSE=0.01, EARLY_SECONDS=0.1, GIVE_UP=2)
    until(lambda: len(running.pids()) > 3)
    assert running.end() == 0


# --- the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_end_comes_in_the_opposite_order(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    """Whichever way we are asked, and even if a terminal asks our whole group: each is asked once, by us."""
    file = tmp_path / "ends"
    names = {"queue": 0.0, "worker": 0.1, "web": 0.3}
    codes = {
        name: NOTES_ITS_END.format(file=str(file), name=name, delay=delay) for name, delay in names.items()
    }
    running = start(codes)
    until(lambda: all(f"{name} is there" in running.out.read_text() for name in names))
    os.killpg(running.process.pid, number)
    assert running.process.wait(10) == 0
    assert file.read_text().splitlines() == ["web SIGTERM", "worker SIGTERM", "queue SIGTERM"]


def test_who_does_not_end_in_time_is_killed(start: Start) -> None:
    running = start({"deaf": IGNORES, "good": SLEEPS}, STOP_SECONDS=1, ASK_SECONDS=0.4)
    until(lambda: "I stay" in running.out.read_text())
    begun = time.monotonic()
    assert running.end() == 0
    assert 1 <= time.monotonic() - begun < 9
    told = running.logged("a process did not end in time and was killed")
    assert [one["process"] for one in told] == ["deaf"]
    assert not any(lives(pid) for pid in running.pids())


def test_a_second_interrupt_does_not_wait(start: Start) -> None:
    running = start({"deaf": IGNORES})
    until(lambda: "I stay" in running.out.read_text())
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    running.process.send_signal(signal.SIGINT)
    running.process.wait(3)
    assert not any(lives(pid) for pid in running.pids())


@linux
def test_children_do_not_outlive_a_killed_supervisor(start: Start) -> None:
    running = start({"one": SLEEPS, "other": SLEEPS})
    until(lambda: len(running.pids()) == 2)
    running.process.kill()
    running.process.wait()
    until(lambda: not any(lives(pid) for pid in running.pids()), 3)


@linux
def test_nobody_is_left_as_a_zombie(start: Start, tmp_path: Path) -> None:
    """A child that leaves a grandchild behind: it is told to go, and we bury it."""
    file = tmp_path / "grandchild"
    parent = f"""
        import os, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open({str(file)!r}, "a").write(f"{{child.pid}}\\n")
        os._exit(1)
    """
    running = start({"parent": textwrap.dedent(parent)}, FIRST_PAUSE=0.3)
    until(lambda: len(running.pids()) == 2)
    left = [int(pid) for pid in file.read_text().split()]
    until(lambda: state(left[0]) == "", 3)
    running.end()
    until(lambda: not any(state(int(pid)) for pid in file.read_text().split()), 3)


def test_nobody_listens_any_more(tmp_path: Path) -> None:
    """Whoever read our output is gone: the children are ended all the same."""
    talks = "import time\nwhile True: print('here', flush=True); time.sleep(0.05)"
    command = [sys.executable, "-c", SUPERVISE, "{}", json.dumps([("talks", talks)])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        pid = json.loads(process.stdout.readline())["pid"]
        process.stdout.close()
        process.wait(10)
    assert not lives(pid)


# --- what they say -----------------------------------------------------------------------------------------


def test_every_line_is_passed_on(start: Start) -> None:
    """Long ones, those that are no text, and the last one without an end."""
    code = """
        import sys
        out = sys.stdout.buffer
        out.write(b"first\\n\\xff\\xfe\\n" + b"x" * 300_000 + b"\\n" + b"last")
        out.flush()
        sys.stderr.write("complaint")
    """
    running = start({"one": textwrap.dedent(code)}, FIRST_PAUSE=30)
    until(lambda: running.logged("a process ended and is started again"))
    assert running.end() == 0
    said = [line for line in running.out.read_text().splitlines() if not line.startswith("{")]
    assert said[:2] == ["first", "��"]
    assert sum(len(line) for line in said if set(line) == {"x"}) == 300_000
    assert said[-1] == "lastcomplaint"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '{"time": "nonsense", "level": "info", "logger": "a", "message": "delivered", "order": "1"}',
            "--:--:--  web       delivered  order=1",
        ),
        (
            '{"message": "bad", "level": "error", "at": ["a:1", "b:2"]}',
            "--:--:--  web       bad  at=b:2 < a:1",
        ),
        ("Traceback (most recent call last):", "          web       Traceback (most recent call last):"),
        ("[1, 2]", "          web       [1, 2]"),
        ('{"message": "\\u001b[31mred\\nline"}', "--:--:--  web       ?[31mred?line"),
    ],
    ids=["line", "places", "no-json", "no-object", "escapes"],
)
def test_a_line_at_a_terminal(line: str, expected: str) -> None:
    assert shown("web", line).plain == expected


# --- the whole relay ---------------------------------------------------------------------------------------


class Up:
    """`purchase-relay up` with everything embedded."""

    def __init__(self, home: Path, port: int) -> None:
        self.port, self.out, self.err = port, home / "up.out", home / "up.err"
        environment = environments.SHOPIFY | {"RELAY_DATA_DIR": str(home), "PORT": str(port)}
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "webhooks", "up"], env=environment, stdout=out, stderr=err
            )

    def pids(self) -> dict[str, int]:
        """The processes that it has started, by name; the latest of each."""
        lines = [json.loads(line) for line in self.out.read_text().splitlines()]
        return {line["process"]: line["pid"] for line in lines if line["message"] == "a process started"}

    def is_ready(self) -> bool:
        """Whether a hook can be taken and a worker be woken (no account is set up, so it is never 200)."""
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2)
        except urllib.error.HTTPError as answer:
            checks = json.loads(answer.read())["checks"]
            return bool(checks["database"] == checks["redis"] == "ok")
        except OSError:
            return False
        return True

    def post(self, body: bytes) -> int:
        """A signed hook."""
        secret = environments.SHOPIFY["SHOPIFY_WEBHOOK_SECRETS"]
        headers = shopify_sender.sign(body, secret, topic="orders/paid", now=int(time.time()))
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/webhooks/shopify", body, headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)


@linux
def test_up_stays_up_and_leaves_nobody(tmp_path: Path) -> None:
    """Web and queue are killed and come back; then we are killed ourselves, and everybody goes."""
    up = Up(tmp_path, ports.free())
    try:
        until(up.is_ready, 20)
        assert up.post(b"{}") == 200
        first = up.pids()
        assert set(first) == {"valkey", "worker.1", "sweep", "web"}
        assert f"http://localhost:{up.port}/webhooks/shopify/shopify" in up.err.read_text()
        assert "META_PIXEL_ID" in up.err.read_text(), "what is missing is named"
        for name in ("web", "valkey"):
            os.kill(first[name], signal.SIGKILL)
        until(lambda: up.pids()["web"] != first["web"] and up.pids()["valkey"] != first["valkey"])
        until(up.is_ready, 20)
        assert up.post(b"{}") == 200
        web = Path(f"/proc/{up.pids()['web']}/task/{up.pids()['web']}/children").read_text().split()
    finally:
        up.process.kill()
        up.process.wait()
    everybody = [*first.values(), *up.pids().values(), *map(int, web)]
    until(lambda: not any(lives(pid) for pid in everybody), 10)


def test_up_ends_as_asked_and_says_what_stands_in_its_way(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        up = Up(tmp_path, taken.getsockname()[1])
        assert up.process.wait(10) == 1
        assert f"port {up.port} is in use" in up.err.read_text()
    up = Up(tmp_path, ports.free())
    try:
        until(up.is_ready, 20)
        up.process.terminate()
        assert up.process.wait(25) == 0
    finally:
        up.process.kill()
    assert not any(lives(pid) for pid in up.pids().values())
    assert not list(tmp_path.glob("*.sock"))

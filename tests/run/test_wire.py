"""Messages between a conductor and the parents: whole, in order, and from whoever is there."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.errors import RunError
from suite.run import wire
from suite.run.wire import Hangup, Line


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Line]]:
    """A bare socket, and the line at its other end."""
    bare, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    line = Line(other)
    yield bare, line
    bare.close()
    line.close()


def test_messages_come_whole_and_in_order(ends: tuple[socket.socket, Line]) -> None:
    bare, line = ends
    other = Line(bare)
    told = [{"do": "trial", "text": "line\nbreak, é"}, {"numbers": [1, 2.5, None]}, {}]
    for message in told:
        other.send(**message)
    assert [line.receive(1) for _ in told] == told
    line.send(answer=1)
    assert other.receive(1) == {"answer": 1}


def test_half_a_message_is_waited_for(ends: tuple[socket.socket, Line]) -> None:
    bare, line = ends
    bare.sendall(b'{"a": ')
    with pytest.raises(TimeoutError):
        line.receive(0.05)
    assert not line.hung_up
    bare.sendall(b'1}\n{"b"')
    assert line.receive(1) == {"a": 1}
    bare.sendall(b": 2}\n")
    assert line.receive(1) == {"b": 2}


def test_a_large_message_comes_whole(ends: tuple[socket.socket, Line]) -> None:
    bare, line = ends
    sender = threading.Thread(target=lambda: Line(bare).send(text="x" * 5_000_000))
    sender.start()
    assert len(line.receive(10)["text"]) == 5_000_000
    sender.join()


def test_what_never_ends_is_hung_up_on(ends: tuple[socket.socket, Line], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_BYTES", 100_000)
    bare, line = ends

    def flood() -> None:
        try:
            while True:
                bare.sendall(b"x" * 10_000)
        except OSError:
            pass

    sender = threading.Thread(target=flood)
    sender.start()
    with pytest.raises(Hangup):
        line.receive(10)
    line.close()
    sender.join()


GARBAGE = {
    "no JSON": b"hello\n",
    "no object": b"[1]\n",
    "no text": b"\xff\xfe\n",
    "empty": b"\n",
    "deep": b"[" * 100_000 + b"\n",
    "digits": b'{"a": ' + b"9" * 5000 + b"}\n",
    "half, then gone": b'{"do": "trial"',
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_message_is_a_hang_up(ends: tuple[socket.socket, Line], content: bytes) -> None:
    """Whoever says it is none of ours, and nobody's traceback."""
    bare, line = ends
    bare.sendall(content)
    bare.shutdown(socket.SHUT_WR)
    with pytest.raises(Hangup):
        line.receive(5)


def test_a_hang_up_is_seen_without_waiting_and_what_was_said_before_is_heard(
    ends: tuple[socket.socket, Line],
) -> None:
    bare, line = ends
    assert not line.hung_up
    Line(bare).send(last="word")
    bare.close()
    assert not line.hung_up
    assert line.receive(1) == {"last": "word"}
    assert line.hung_up
    with pytest.raises(Hangup):
        line.receive(1)
    with pytest.raises(Hangup):
        line.send(more="x" * 1_000_000)


@pytest.mark.parametrize("length", [20, 107, 108, 250, 1500])
def test_a_conductor_is_found_in_a_folder_however_long_its_path(tmp_path: Path, length: int) -> None:
    """The path of a socket may have 107 bytes; a folder's may have more."""
    folder = tmp_path
    while len(os.fsencode(folder)) < length:
        folder = folder / ("é" * 40)
    folder.mkdir(parents=True, exist_ok=True)
    with wire.listening(folder) as listener:
        assert wire.arrived(listener, 0) is None
        mine = wire.connected(folder, 1)
        theirs = wire.arrived(listener, 5)
        assert theirs
        mine.send(token="torch")
        assert theirs.receive(1) == {"token": "torch"}
        mine.close()
        theirs.close()
    assert list(folder.iterdir()) == []


def test_whoever_comes_before_the_conductor_waits_for_it(tmp_path: Path) -> None:
    came: list[Line] = []
    early = threading.Thread(target=lambda: came.append(wire.connected(tmp_path, 10)))
    early.start()
    time.sleep(0.2)
    with wire.listening(tmp_path) as listener:
        found = wire.arrived(listener, 10)
        early.join()
        assert found
        found.close()
    came[0].close()


def test_without_a_conductor_nobody_waits_for_ever(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no conductor came"):
        wire.connected(tmp_path, 0.05)


def test_what_a_dead_conductor_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """A socket stays where its process was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead, wire._short(tmp_path) as short:
        dead.bind(f"{short}/{wire.NAME}")
    assert (tmp_path / wire.NAME).exists()
    with pytest.raises(RunError, match="no conductor came"):
        wire.connected(tmp_path, 0.05)
    with wire.listening(tmp_path) as listener:
        line = wire.connected(tmp_path, 1)
        found = wire.arrived(listener, 1)
        assert found
        found.close()
        line.close()


def test_where_there_can_be_no_socket_it_is_said_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "chmod", refuse)
    with (
        pytest.raises(RunError, match="no socket can be made here: Operation not supported") as told,
        wire.listening(tmp_path),
    ):
        pass
    assert "local file system" in told.value.way_out


def test_those_that_have_something_to_say_are_ready(ends: tuple[socket.socket, Line]) -> None:
    """Also what came in one piece with the message before."""
    bare, line = ends
    assert wire.ready([line], 0) == []
    bare.sendall(b"".join(json.dumps({"number": number}).encode() + b"\n" for number in (1, 2)))
    for number in (1, 2):
        assert wire.ready([line], 1) == [line]
        assert line.receive(1) == {"number": number}
    assert wire.ready([line], 0) == []
    bare.close()
    assert wire.ready([line], 1) == [line]

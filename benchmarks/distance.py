"""A server at a distance: a proxy, a separate process, that delivers what it receives later, in both directions.

``python -m benchmarks.distance PORT`` forwards connections to that port; its own port is the first line on standard
output. Threads wait for the delay, since the timers of an event loop may be a millisecond late.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from queue import SimpleQueue
from typing import TypeAlias

__all__ = ["DELAY_S", "main"]

DELAY_S = 0.001  # in each direction
PIECE_BYTES = 2**18

Queue: TypeAlias = "SimpleQueue[tuple[float, bytes]]"


def _receive(source: socket.socket, queue: Queue) -> None:
    """Note what comes, and when it is to be delivered; nothing, once the sender has closed the connection."""
    data = b"-"
    while data:
        try:
            data = source.recv(PIECE_BYTES)
        except OSError:
            data = b""
        queue.put((time.perf_counter() + DELAY_S, data))


def _deliver(queue: Queue, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            due_at, data = queue.get()
            time.sleep(max(0.0, due_at - time.perf_counter()))
            if not data:
                target.shutdown(socket.SHUT_RDWR)
                return
            target.sendall(data)


def _forward(source: socket.socket, target: socket.socket) -> None:
    queue: Queue = SimpleQueue()
    threading.Thread(target=_receive, args=(source, queue), daemon=True).start()
    threading.Thread(target=_deliver, args=(queue, target), daemon=True).start()


def main() -> None:
    """Serve until killed."""
    port = int(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            client, _ = listening.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _forward(client, server)
            _forward(server, client)


if __name__ == "__main__":
    main()

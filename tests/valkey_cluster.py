"""A real Valkey cluster for tests: three primaries, each with a replica, on free ports of this machine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.crc import key_slot

from tests.server import free_port
from tests.valkey import ValkeyServer

__all__ = ["ClusterNode", "ValkeyCluster", "wait_until"]

SLOTS = 16384
PRIMARIES = 3
READY_WITHIN_S = 30.0
POLL_S = 0.02


def wait_until(what: str, condition: Callable[[], Any], *, within_s: float = READY_WITHIN_S) -> Any:
    """Poll until *condition* holds, and return its value; TimeoutError after *within_s* seconds.

    It blocks: call it before a test, or in a thread of its own.
    """
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(POLL_S)
    return found


class ClusterNode(ValkeyServer):
    """A server of a cluster; its cluster bus listens on a free port too."""

    bus_port = 0
    _bus_for = 0

    def _spawn(self) -> None:
        if self._bus_for != self.port:
            self._bus_for, self.bus_port = self.port, free_port()
            self.config["cluster-port"] = str(self.bus_port)
        super()._spawn()

    @property
    def address(self) -> str:
        """Host and port, as the cluster names it."""
        return f"127.0.0.1:{self.port}"

    @property
    def node_id(self) -> str:
        """Its node id in the cluster."""
        return str(self.command("CLUSTER", "MYID"), "ascii")

    def role(self) -> str:
        """Its role in its own view: master or slave."""
        return str(self.command("ROLE")[0], "ascii")


class ValkeyCluster:
    """Three primaries with a replica each.

    Args:
        directory: where the servers keep their data; the caller removes it.
        node_timeout_ms: after how long a primary that does not answer is replaced by its replica.
        config: further directives for all servers.
    """

    def __init__(
        self, directory: Path, *, node_timeout_ms: int = 15_000, config: Mapping[str, str] | None = None
    ) -> None:
        common = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(node_timeout_ms),
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
            **(config or {}),
        }
        self.nodes: list[ClusterNode] = []
        for number in range(2 * PRIMARIES):
            place = directory / f"node-{number}"
            place.mkdir()
            self.nodes.append(ClusterNode(place, config=common))
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """The address of the cluster, with all of its servers."""
        return f"redis+cluster://{','.join(node.address for node in self.nodes)}"

    def slot_of(self, name: str | bytes) -> int:
        """The hash slot of *name*."""
        return int(key_slot(name if isinstance(name, bytes) else name.encode()))

    def owner_of(self, slot: int) -> ClusterNode:
        """The primary that owns *slot* in the view of the running servers."""
        for node in self.nodes:
            if node.process is None:
                continue
            for first, last, primary, *_ in node.command("CLUSTER", "SLOTS"):
                if int(first) <= slot <= int(last):
                    return self.at_port(int(primary[1]))
        raise LookupError(slot)

    def at_port(self, port: int) -> ClusterNode:
        """The server that listens on *port*."""
        return next(node for node in self.nodes if node.port == port)

    def replica_of(self, primary: ClusterNode) -> ClusterNode | None:
        """A running replica of *primary*, if there is one."""
        for node in self.nodes:
            if node.process is not None and node.role() == "slave" and node.command("ROLE")[2] == primary.port:
                return node
        return None

    def primaries(self) -> list[ClusterNode]:
        """The running servers that are primaries now."""
        return [node for node in self.nodes if node.process is not None and node.role() == "master"]

    def connections(self) -> int:
        """How many connections clients have open, without those of this call and of replicas."""
        kinds = ("normal", "pubsub")
        counts = [
            len(node.command("CLIENT", "LIST", "TYPE", kind).splitlines()) for node in self.nodes for kind in kinds
        ]
        return sum(counts) - len(self.nodes)

    def keys(self) -> set[bytes]:
        """The names of all keys on all primaries."""
        return {name for node in self.primaries() for name in node.command("KEYS", "*")}

    def begin_moving(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """Begin the migration of *slot*: from now on *source* redirects to *target* for keys that it no longer has."""
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)

    def move_keys(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """Move the keys that are in *slot* now."""
        for name in source.command("CLUSTER", "GETKEYSINSLOT", slot, 10_000):
            source.command("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)

    def end_moving(self, slot: int, target: ClusterNode) -> None:
        """Assign *slot* to *target* on all primaries."""
        for node in (target, *(each for each in self.primaries() if each is not target)):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)

    def move(self, slot: int, target: ClusterNode) -> None:
        """Move *slot* and its keys to *target*."""
        source = self.owner_of(slot)
        self.begin_moving(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_moving(slot, target)

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for node in self.nodes:
                started.enter_context(node)
            self._join()
            self._running = started.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.close()

    def _join(self) -> None:
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        for number, node in enumerate(self.nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(primaries):
            first, after = (SLOTS * each // PRIMARIES for each in (number, number + 1))
            node.command("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for node, other in itertools.combinations(self.nodes, 2):  # every pair meets: gossip would take seconds
            node.command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
        wait_until("all servers know each other", lambda: all(self._knows_all(node) for node in self.nodes))
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.command("CLUSTER", "REPLICATE", primary.node_id)
        wait_until("the cluster is whole", lambda: all(self._is_whole(node) for node in self.nodes))
        wait_until("replicas follow", lambda: all(node.command("ROLE")[3] == b"connected" for node in replicas))

    def _knows_all(self, node: ClusterNode) -> bool:
        lines = str(node.command("CLUSTER", "NODES"), "ascii").splitlines()
        return len(lines) == len(self.nodes) and not any("handshake" in line for line in lines)

    def _is_whole(self, node: ClusterNode) -> bool:
        is_ok = b"cluster_state:ok" in node.command("CLUSTER", "INFO")
        slots = node.command("CLUSTER", "SLOTS")
        return is_ok and len(slots) == PRIMARIES and all(len(each) == 4 for each in slots)  # a range, and two servers

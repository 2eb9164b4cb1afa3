"""Reading pickles as data, by an interpreter that knows only the needed instructions and names, and executes nothing.

A pickle is a program. Python's own unpickler imports each name in it and calls the result, so that anyone who can write
the bytes can run code. Here, a name is a string that must be in a short list, and a call of it makes an `Inert`: the
name and its arguments. Nothing is imported or called. A pickle with any other instruction or name is refused, with an
error that says what it contains.

Memory is bounded by the length of the bytes and the number of instructions, each of which makes one object. Keys of
dictionaries must be strings: hashing a deeply nested tuple would overflow the stack.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["MAX_INSTRUCTIONS", "Inert", "Named", "UnknownPickleError", "read_pickle", "shown"]

MAX_INSTRUCTIONS: Final = 200_000  # a response with a thousand header lines takes about ten thousand
_PROTOCOLS: Final = range(2, 6)
_SHOWN_CHARS: Final = 80


class UnknownPickleError(ValueError):
    """The bytes are not a pickle of the wanted kind; the message says what they contain instead."""


@dataclass(frozen=True, eq=False, slots=True)
class Named:
    """A name in the pickle, instead of the object that Python would import."""

    name: str


@dataclass(eq=False, slots=True)
class Inert:
    """An object that the pickle would make: the name of a class or function, and what it would be called with.

    Attributes:
        arguments: the arguments of the call.
        state: the state to set, or None.
        items: the items to set, for a dictionary.
    """

    name: str
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[str, Any] = field(default_factory=dict[str, Any])


class _Mark:
    """Marks on the stack where a list of values begins."""


_MARK: Final = _Mark()


def read_pickle(data: bytes, names: Collection[str]) -> tuple[Any, int]:
    """Read the pickle at the beginning of *data*; return its value, made of plain values and `Inert`, and its end.

    Args:
        names: the allowed names, as ``module.name``.

    Raises:
        UnknownPickleError: it is damaged, or contains anything else.
    """
    machine = _Machine(data, names)
    try:
        return machine.run(), machine.at
    except UnknownPickleError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as exc:
        raise UnknownPickleError("it is damaged") from exc


class _Machine:
    """Interprets one pickle.

    Args:
        data: begins with the pickle.
        names: the allowed names.
    """

    def __init__(self, data: bytes, names: Collection[str]) -> None:
        self.data, self.names = data, names
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Go through the instructions, and return the value on top of the stack at the end."""
        for _ in range(MAX_INSTRUCTIONS):
            code = self.take(1)
            if code == b".":
                return self.last()
            does = _INSTRUCTIONS.get(code)
            if does is None:
                raise UnknownPickleError(f"it holds an instruction that is not known (0x{code.hex()})")
            does(self)
        raise UnknownPickleError("it holds more than a response")

    # ---- the bytes

    def take(self, size: int) -> bytes:
        """The next *size* bytes."""
        end = self.at + size
        if end > len(self.data):
            raise UnknownPickleError("it is cut off")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, form: str) -> Any:
        """The next number, in a format (*form*) of `struct`."""
        (number,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return number

    def line(self) -> str:
        """The string up to the end of the line."""
        end = self.data.index(b"\n", self.at)
        text = self.take(end - self.at).decode()
        self.at += 1
        return text

    # ---- the stack

    def last(self) -> Any:
        """Pop the value on top."""
        value = self.stack.pop()
        if value is _MARK:
            raise UnknownPickleError("it is damaged")
        return value

    def lasts(self, count: int) -> tuple[Any, ...]:
        """Pop the *count* values on top, in the order in which they were pushed."""
        values = tuple(self.last() for _ in range(count))
        return values[::-1]

    def since_mark(self) -> list[Any]:
        """Pop the values above the last mark, and the mark."""
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values

    def memoize(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def recall(self, number: int) -> None:
        self.stack.append(self.memo[number])

    # ---- making values

    def name(self, module: object, name: object) -> None:
        """Push a name, which must be one of the allowed ones."""
        full = (
            f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "something that is not a name"
        )
        if full not in self.names:
            raise UnknownPickleError(f"it holds {shown(full)}")
        self.stack.append(Named(full))

    def call(self) -> None:
        called, arguments = self.lasts(2)
        if not isinstance(called, Named) or not _is(arguments, tuple):
            raise UnknownPickleError("it calls something that is not a name")
        self.stack.append(Inert(called.name, arguments))

    def build(self) -> None:
        state = self.last()
        made = self.stack[-1]
        if not isinstance(made, Inert):
            raise UnknownPickleError("it has a state for something that takes none")
        made.state = state

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not _is(target, list):
            raise UnknownPickleError("it is damaged")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        items: Any = target.items if isinstance(target, Inert) else target
        if not _is(items, dict) or len(values) % 2:
            raise UnknownPickleError("it is damaged")
        for name, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(name, str):
                raise UnknownPickleError(f"it has a key that is not text ({type(name).__name__})")
            items[name] = value


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind)


def shown(text: str) -> str:
    """*text* for an error message: shortened, and without unprintable characters, since it came from a file."""
    return "".join(c if c.isprintable() else "�" for c in text[:_SHOWN_CHARS])


def _text(form: str) -> Callable[[_Machine], None]:
    def does(machine: _Machine) -> None:
        machine.stack.append(machine.take(machine.number(form)).decode("utf-8", "surrogatepass"))

    return does


def _bytes(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.take(machine.number(form)))


def _number(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.number(form))


def _value(make: Callable[[], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(make())


def _tuple(count: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.lasts(count))


def _protocol(machine: _Machine) -> None:
    version = machine.number("B")
    if version not in _PROTOCOLS:
        raise UnknownPickleError(f"it is of a protocol that is not known ({version})")


_INSTRUCTIONS: Final[dict[bytes, Callable[[_Machine], None]]] = {
    b"\x80": _protocol,
    b"\x95": lambda machine: machine.number("<Q"),  # a frame: how far to read ahead
    b"\x8c": _text("B"),
    b"X": _text("<I"),
    b"\x8d": _text("<Q"),
    b"C": _bytes("B"),
    b"B": _bytes("<I"),
    b"\x8e": _bytes("<Q"),
    b"K": _number("B"),
    b"M": _number("<H"),
    b"J": _number("<i"),
    b"\x8a": lambda machine: machine.stack.append(int.from_bytes(machine.take(machine.number("B")), "little")),
    b"G": _number(">d"),
    b"N": _value(lambda: None),
    b"\x88": _value(lambda: True),
    b"\x89": _value(lambda: False),
    b"]": _value(list),
    b"}": _value(dict),
    b")": _value(tuple),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"(": lambda machine: machine.stack.append(_MARK),
    b"t": lambda machine: machine.stack.append(tuple(machine.since_mark())),
    b"a": lambda machine: machine.extend([machine.last()]),
    b"e": lambda machine: machine.extend(machine.since_mark()),
    b"s": lambda machine: machine.set_items(list(machine.lasts(2))),
    b"u": lambda machine: machine.set_items(machine.since_mark()),
    b"\x94": lambda machine: machine.memoize(len(machine.memo)),
    b"q": lambda machine: machine.memoize(machine.number("B")),
    b"r": lambda machine: machine.memoize(machine.number("<I")),
    b"h": lambda machine: machine.recall(machine.number("B")),
    b"j": lambda machine: machine.recall(machine.number("<I")),
    b"c": lambda machine: machine.name(machine.line(), machine.line()),
    b"\x93": lambda machine: machine.name(*machine.lasts(2)),
    b"\x81": lambda machine: machine.call(),
    b"R": lambda machine: machine.call(),
    b"b": lambda machine: machine.build(),
}
"""The instructions of protocols 2 to 5 that a response takes, by their codes in CPython's ``pickletools``."""

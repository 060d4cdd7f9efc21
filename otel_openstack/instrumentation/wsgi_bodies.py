# SPDX-License-Identifier: Apache-2.0
"""What passes between application and server: the request's body being read, the response's body being sent.

Each wrapper behaves as the object it stands for, adds up times and bytes, and tells its `Exchange` about the end once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, Protocol


class Exchange(Protocol):
    """The request that the bodies belong to. None of these raises an Exception."""

    received: int
    receive_time: float
    receive_error: BaseException | None
    short: bool
    sent: int
    send_time: float
    generate_time: float
    error: BaseException | None
    timed: bool
    """Whether it is of interest how long the sending takes."""

    def first_byte(self) -> None: ...

    def attach(self) -> None: ...

    def detach(self) -> None: ...

    def last_byte(self) -> None: ...

    def finish(self) -> None: ...

    def aborted(self, error: BaseException | None) -> None: ...


class Input:
    """`wsgi.input`: adds up the bytes and the time blocked in reading, and keeps the error of a read."""

    __slots__ = ("_exchange", "_input")

    def __init__(self, source: Any, exchange: Exchange) -> None:
        self._input = source
        self._exchange = exchange

    def read(self, *args: Any, **kwargs: Any) -> Any:
        data = self._timed(self._input.read, args, kwargs)
        size = args[0] if args else kwargs.get("size")
        # A read that ends before its size is the end of the body, expected or not: the exchange knows which.
        if size is None or size < 0 or len(data) < size:
            self._exchange.short = True
        return data

    def readline(self, *args: Any, **kwargs: Any) -> Any:
        return self._timed(self._input.readline, args, kwargs)

    def readlines(self, *args: Any, **kwargs: Any) -> Any:
        exchange, start = self._exchange, perf_counter()
        try:
            lines = self._input.readlines(*args, **kwargs)
        except BaseException as error:
            exchange.receive_error = error
            raise
        finally:
            exchange.receive_time += perf_counter() - start
        exchange.received += sum(map(len, lines))
        return lines

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __getattr__(self, name: str) -> Any:
        if name in Input.__slots__:  # asked before `__init__` ran
            raise AttributeError(name)
        return getattr(self._input, name)

    def _timed(self, read: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        exchange, start = self._exchange, perf_counter()
        try:
            data = read(*args, **kwargs)
        except BaseException as error:
            exchange.receive_error = error
            raise
        finally:
            exchange.receive_time += perf_counter() - start
        exchange.received += len(data)
        return data


class Parts(list[Any]):
    """A response that is a list: still a list with its length, and it has a `close`, so the server tells the end.

    Iterated by the server it also shows the time between the parts, in which they are sent.
    """

    __slots__ = ("_begun", "_complete", "_exchange")

    def __init__(self, parts: Iterable[Any], exchange: Exchange) -> None:
        super().__init__(parts)
        self._exchange = exchange
        self._begun = self._complete = False

    def __iter__(self) -> Iterator[Any]:
        self._begun = True
        return self._sending()

    def _sending(self) -> Iterator[Any]:
        exchange = self._exchange
        if exchange.timed:
            for part in list.__iter__(self):
                handed = perf_counter()
                yield part
                exchange.send_time += perf_counter() - handed
        else:
            yield from list.__iter__(self)
        self._complete = True

    def close(self) -> None:
        exchange = self._exchange
        exchange.last_byte()
        error = sys.exc_info()[1]
        if error is not None or (self._begun and not self._complete):
            exchange.aborted(error)
        exchange.finish()

    def __del__(self) -> None:
        try:
            exchange = self._exchange
        except AttributeError:  # it was never made to its end
            return
        exchange.finish()


class Stream:
    """A response that is produced while it is sent: the request's span is current in `next` and in `close`."""

    __slots__ = ("_body", "_exchange", "_exhausted", "_handed", "_iterator")

    def __init__(self, body: Any, exchange: Exchange) -> None:
        self._body = body
        self._exchange = exchange
        self._iterator: Any = None
        self._exhausted = False
        self._handed = 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        exchange, start = self._exchange, perf_counter()
        if self._handed:
            exchange.send_time += start - self._handed
        exchange.attach()
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            part = next(self._iterator)
        except StopIteration:
            self._exhausted = True
            self._handed = 0.0
            raise
        except BaseException as error:
            exchange.error = error
            raise
        finally:
            exchange.detach()
            now = perf_counter()
            if exchange.sent:
                exchange.generate_time += now - start
        if not exchange.sent:
            exchange.first_byte()
        exchange.sent += length(part)
        self._handed = now
        return part

    def close(self) -> None:
        exchange = self._exchange
        exchange.last_byte()
        if not self._exhausted and exchange.error is None:
            exchange.aborted(sys.exc_info()[1])
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                exchange.attach()
                try:
                    close()
                finally:
                    exchange.detach()
        finally:
            exchange.finish()

    def __getattr__(self, name: str) -> Any:
        if name in Stream.__slots__:  # asked before `__init__` ran
            raise AttributeError(name)
        return getattr(self._body, name)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never made to its end
            self._exchange.finish()


class SizedStream(Stream):
    """A stream whose original has a length, from which servers take Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)


def ends_with(body: Any, exchange: Exchange) -> bool:
    """Make the server's `close` of `body`, which has to stay the object it is, end the exchange.

    For the server's own file wrapper, which it recognises by class or identity to send the file with sendfile.
    Returns False where the object takes no attribute.
    """
    close = getattr(body, "close", None)

    def closed() -> None:
        exchange.last_byte()
        error = sys.exc_info()[1]
        if error is not None:
            exchange.aborted(error)
        try:
            if close is not None:
                close()
        finally:
            exchange.finish()

    try:
        body.close = closed
    except (AttributeError, TypeError):
        return False
    return True


def length(part: Any) -> int:
    """Return the bytes of a part of a body; 0 for what is no bytes (the server will complain, not we)."""
    return len(part) if isinstance(part, bytes | bytearray | memoryview) else 0

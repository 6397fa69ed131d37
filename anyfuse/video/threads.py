"""Work ahead in a thread, a bounded number of items at a time."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], size: int = 3) -> Iterator[T]:
    """The items, made in a thread, at most `size` of them before they are used. Closing the iterator ends the thread;
    what the items raise is raised here.
    """
    waiting: queue.Queue[Any] = queue.Queue(size)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as error:  # it is raised where the items are used
            put((_END, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join()


class Behind:
    """Calls a function for each item in a thread; `put` waits where `size` items wait already."""

    def __init__(self, function: Callable[[Any], None], size: int = 3) -> None:
        self._waiting: queue.Queue[Any] = queue.Queue(size)
        self._function = function
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            item = self._waiting.get()
            if item is _END:
                return
            if isinstance(item, threading.Event):
                item.set()
            elif self._error is None:
                try:
                    self._function(item)
                except BaseException as error:  # it is raised by the next `put`
                    self._error = error

    def put(self, item: Any) -> None:
        """Hands an item over; raises what an earlier one raised."""
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def wait(self) -> None:
        """Waits until what was handed over is done."""
        done = threading.Event()
        self.put(done)
        done.wait()

    def close(self) -> None:
        """Waits until all is done."""
        self._waiting.put(_END)
        self._thread.join()
        if self._error is not None:
            raise self._error

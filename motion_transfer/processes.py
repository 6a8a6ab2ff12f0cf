"""Independent pieces of work, each in one of several processes that share the cores.

At nano's size two processes of one thread get through nearly twice the work of one process of two threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

import torch

from motion_transfer.errors import NotEnoughMemory

Item = TypeVar("Item")
Found = TypeVar("Found")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _begin(num_threads: int) -> None:
    """Of a process that works: it ends when its parent does, however that went; Ctrl-C is for its parent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(num_threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def each(
    function: Callable[[Item], Found], items: Sequence[Item], *, num_processes: int
) -> Iterator[tuple[Item, Found]]:
    """Applies a function to every item, and gives items and results as they come.

    Args:
        function: what a fresh process can import, with arguments that can be pickled.
        items: likewise.
        num_processes: 1 works in this process.

    Raises:
        NotEnoughMemory: a process was ended from outside, which systems do where memory runs out.
    """
    if num_processes == 1:
        yield from ((item, function(item)) for item in items)
        return
    others = set(multiprocessing.active_children())
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of a launcher, each with its own
    num_threads = max(1, (os.cpu_count() or 1) // (num_processes * beside))
    pool = ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin,
                               initargs=(num_threads,))  # fmt: skip
    try:
        item_of = {pool.submit(function, item): item for item in items}
        for future in as_completed(item_of):
            yield item_of[future], future.result()
    except BrokenProcessPool as error:
        raise NotEnoughMemory(f"{num_processes} processes were at work, but the system ended one, most likely for want "
                              "of memory; use fewer of them, or close other programs.") from error  # fmt: skip
    finally:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        pool.shutdown(cancel_futures=True)

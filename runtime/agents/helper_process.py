"""What a process does first that works for another one: it ends with its parent, and leaves Ctrl-C to it.

A parent that is killed cannot tell anybody; but the pipe that it held closes, and that can be waited for.
"""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.connection import wait


def end_with_parent(pipe: int) -> threading.Thread:
    """End this process at once when its parent ends, however that ends; return the thread that waits for it.

    Args:
        pipe: descriptor that becomes readable when the parent ends, and never before.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        wait([pipe])
        os._exit(1)  # nobody is left to hear of it, and threads at work are not waited for

    watcher = threading.Thread(target=watch, name="parent", daemon=True)
    watcher.start()
    return watcher

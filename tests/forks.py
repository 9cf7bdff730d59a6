"""Children that a test forks."""

import os
import time


def exit_code(child):
    """The exit code of a child; `"hung"` if it has none after ten seconds, and is killed."""
    limit = time.monotonic() + 10
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < limit:
        time.sleep(0.01)
    if ended == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
        return "hung"
    return os.waitstatus_to_exitcode(ended[1])

"""Time as the Go servers write it."""

import time


def rfc3339(seconds: float | None = None) -> str:
    """Write a time (seconds since 1970, by default now) as Go's RFC3339Nano does, in UTC."""
    whole, nanos = divmod(
        time.time_ns() if seconds is None else round(seconds * 1e9), 1_000_000_000
    )
    fraction = f".{nanos:09d}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + fraction + "Z"

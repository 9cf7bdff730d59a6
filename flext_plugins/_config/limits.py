"""Limits of what a file or a variable may hold, and how it is told that it holds more."""

from __future__ import annotations

TWICE = "declared twice"
TOO_DEEP = "nested too deep"
TOO_LONG = "a number is too long"
DEEPEST = 50
"""So many tables and lists may stand in each other."""
LONGEST = 16 << 20
"""So many characters may a file have."""
LONGEST_NUMBER = 4300
"""So many characters may a number have, which Python reads in no linear time."""
MOST = 1_000_000
"""So many values may a file have, or a variable, what YAML's aliases repeat included."""
TOO_MANY = f"has more than {MOST:,} values"

"""The same behaviours, run side by side against other libraries and against ours.

Each behaviour is a function in `breaker`, `auth`, `retry` or `clients`, whose docstring is its line
in the table. It is run against an adapter of each library in `libraries`, and what it answers is
what arrived at a server on loopback. `python -m benchmarks.compare` prints the tables.
"""

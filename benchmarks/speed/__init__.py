"""What things cost, side by side: the same work in several ways, in CPU time.

A table is a module with `TABLES`, listed in `tables`; its cases are run in turn, in another order
each round, so that what disturbs the machine disturbs all of them. What is told are ratios of one
round's times. `python -m benchmarks.speed` prints the tables, and `check`
says whether the targets are kept.
"""

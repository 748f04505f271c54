"""What a call costs: the gateway beside nginx and a naive proxy, in one run.

`python -m benchmarks` (or `make bench`) starts everything, measures, prints a table and
writes it to `benchmarks/results/`. `docs/contributing.md` says how to read it.
"""

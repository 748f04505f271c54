"""Databases that the original programs made, opened by ours: what must hold then.

`databases/` holds them as they were left, with a manifest of the truth beside each.
"""

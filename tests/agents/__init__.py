"""Coding agents through a running gateway: `python -m tests.agents`."""

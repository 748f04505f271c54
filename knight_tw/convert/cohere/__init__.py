"""Cohere's chat beside the middle form, in both versions of its API: `v2` and `v1`.

Requests out, answers and streams in; no client of the gateway speaks it (providers
specification, 7.6).
"""

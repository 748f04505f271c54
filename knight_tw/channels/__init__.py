"""Channels beyond a single call: their forms, keys, tests, health and discovery."""

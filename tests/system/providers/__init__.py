"""Providers that are as strict as the real ones, one module per dialect.

Each has `read(body) -> Heard`, `check(body) -> problems`, `answer(turn, spoken, body)`,
`events(turn, spoken, body)` and `failure(status, message)`. They are pure; `server`
puts them on a port.
"""

"""Conversions between dialects: pure functions and stream machines, one package per
dialect (`chat`, `claude`, `gemini`, `responses`), with OpenAI chat as the middle form.

Each package has the same functions: requests and whole answers to the middle form and
from it, a machine for streams in either direction, and the URLs to download first.
"""

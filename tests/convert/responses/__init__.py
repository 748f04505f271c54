"""Conversions of the OpenAI Responses dialect."""

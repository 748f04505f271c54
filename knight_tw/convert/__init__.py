"""Conversions between dialects: pure functions and stream machines, one module per
pair, with OpenAI chat as the middle form."""

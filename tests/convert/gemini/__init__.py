"""Tests of the Gemini conversions, with Google's own types as the judge."""

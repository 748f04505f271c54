"""Tests of the conversions between dialects."""

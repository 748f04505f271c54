"""Tests of the wiring of the management side."""

"""Tests of `knight_tw.payments`."""

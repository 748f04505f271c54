"""Tests of `knight_tw.notices`."""

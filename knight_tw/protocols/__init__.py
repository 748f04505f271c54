"""Twisted protocols: the listening side, the upstream side, the pump between them."""

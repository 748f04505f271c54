"""Knight Omega: a gateway between API clients and model providers."""

__version__ = "0.1.0"

"""`twistd knight`: the gateway as a Twisted application."""

from twisted.application.service import ServiceMaker

knight = ServiceMaker(
    "Knight Omega",
    "knight_tw.tap",
    "A gateway between API clients and model providers.",
    "knight",
)

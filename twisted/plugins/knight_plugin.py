"""`twistd knight`: the gateway as a Twisted application, and its reactor."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

knight = ServiceMaker(
    "Knight Omega",
    "knight_tw.tap",
    "A gateway between API clients and model providers.",
    "knight",
)

knight_reactor = Reactor(
    "knight", "knight_tw.reactor", "epoll without log contexts (Linux)."
)

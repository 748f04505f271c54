"""The money: holds, charges and what proves them.

`Ledger` is all that others need. `balances` knows who can spend how much, `admission`
grants holds, `journal` keeps what happened on disk before it counts, `writer` brings it
into the database in batches (`posting` is the transaction, `charges` its decision,
`statistics` its sums), `replay` does the same for processes that died.
"""

from knight_tw.ledger.hold import Hold, Place
from knight_tw.ledger.ledger import (
    COUNTED,
    ESTIMATED,
    PROVIDER,
    HoldIsOver,
    Ledger,
)

__all__ = [
    "COUNTED",
    "ESTIMATED",
    "PROVIDER",
    "Hold",
    "HoldIsOver",
    "Ledger",
    "Place",
]

"""Top-ups without the sockets: what an order is, what a gateway's message says.

`orders` is what every gateway has in common, `amounts` the money, `epay`, `stripe` and
`creem` the formats of one gateway each, `redirects` where a payment page may return to.
All of it is pure: the surfaces bring requests and time, `checkouts` asks the gateways,
`storage.top_up_queries` keeps the orders.
"""

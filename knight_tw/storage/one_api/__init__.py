"""Upgrading a database of one-api in place (data model, sections 6 and 7).

`upgrade.open_main` and `open_logs` open a database whatever made it, `reading.foresee`
says what an upgrade would change, `report.lines` says it to people.
"""

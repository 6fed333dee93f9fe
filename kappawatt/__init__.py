"""The ledger of what AI training costs the planet, kept live.

Rooms, in the direction in which data flows:
`sensors` read devices, `track` marks runs, `log` keeps records (spool, files, Kafka), `wire` turns bytes into columns,
`stream` holds the event-time operators, `ledger` the energy accounting built from them, `stores` the tables.
"""

__version__ = "0.1.0"

"""Columnar event-time operators: dedupe, split, windows, totals, as-of join, watermarks, outbox.

They know columns and integers, neither energy nor an engine: another event-time job can be built from them.
"""

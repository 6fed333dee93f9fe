"""The emissions job: its sources' parts and its steps, without an engine; `dataflows` runs it on Bytewax."""

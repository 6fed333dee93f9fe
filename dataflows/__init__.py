"""The Bytewax flows: thin wiring of kappawatt's operators. `main.run(settings)` starts the emissions flow."""

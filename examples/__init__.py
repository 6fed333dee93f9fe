"""Jobs of other people's kinds, built on kappawatt's operators."""

"""The commands of `kappawatt`, one module a group; `base` is what they share."""

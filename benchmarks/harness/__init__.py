"""The benchmark's harness: the same bytes and the same job for every engine; see ../engines/README.md."""

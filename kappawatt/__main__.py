"""`python -m kappawatt` is the command `kappawatt`."""

from kappawatt.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

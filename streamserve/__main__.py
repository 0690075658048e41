"""``python -m streamserve``: the command line."""

from streamserve.cli import main

if __name__ == "__main__":
    main(prog_name="streamserve")

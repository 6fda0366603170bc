"""``python -m creditshare``."""

from creditshare.cli import main

if __name__ == "__main__":
    main()

"""`python -m bikeshare`."""

from bikeshare.cli import main

if __name__ == "__main__":
    main()

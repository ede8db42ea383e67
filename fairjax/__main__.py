"""`python -m fairjax COMMAND …`: the console script `fairjax`, where it is not on the path."""

from fairjax.cli import main

if __name__ == "__main__":
    main()

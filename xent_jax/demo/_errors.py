"""The one exception whose text is meant for the person at the terminal."""


class DemoError(Exception):
    """A mistake that the user can fix. The message is one line and names the fix."""

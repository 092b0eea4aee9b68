"""Text from outside, as every database takes it."""


def storable(text: str) -> str:
    r"""The text without what can't be stored: lone surrogates and NUL would make a whole checkpoint fail, for ever.

    >>> storable("bad \ud800 and \0")
    'bad \\ud800 and \\0'
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")

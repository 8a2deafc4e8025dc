"""Numbers as they are given: a wrong one is told by its name, before anything is sent."""

from __future__ import annotations

from numbers import Integral, Real


def check_seconds(name: str, value: object, *, zero: bool = False, otherwise: str = "") -> None:
    """Check a number of seconds.

    Args:
        name: What the user calls it.
        value: Whatever was given.
        zero: Whether 0 is taken.
        otherwise: What is taken as well, for the message.

    Raises:
        TypeError: It is no number.
        ValueError: It is out of range, or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number of seconds{otherwise}, not {type(value).__name__}")
    if not (float(value) >= 0 if zero else float(value) > 0):  # NaN is neither
        raise ValueError(
            f"{name} must be {'0 or more' if zero else 'more than 0'} seconds{otherwise}, not {value}"
        )


def check_whole(name: str, value: object, *, most: int) -> None:
    """Check a number of things, of which there has to be one.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if not 1 <= int(value) <= most:
        raise ValueError(f"{name} must be at least 1 and at most {most}, not {value}")

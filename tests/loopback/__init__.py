"""A raw server that misbehaves on purpose."""

from .faults import FAULTS, Fault
from .server import Loopback

__all__ = ["FAULTS", "Fault", "Loopback"]

"""Where the commands find the service: credentials and, for a sandbox, the URL from the environment."""

from __future__ import annotations

import os
from typing import Any

from attrs import frozen

from ..client import BASE_URL, AsyncClient
from ..models import Credentials


@frozen
class Service:
    """A host, and the point of sale that calls it."""

    base_url: str
    credentials: Credentials

    @classmethod
    def from_env(cls) -> Service:
        """The environment's credentials, at ``TUSFACTURAS_BASE_URL`` if that is set.

        Raises:
            ValueError: A credential is missing.
        """
        return cls(os.environ.get("TUSFACTURAS_BASE_URL") or BASE_URL, Credentials.from_env())

    def client(self, **options: Any) -> AsyncClient:
        """A client of it.

        Raises:
            ValueError: An option is out of range.
        """
        return AsyncClient(self.credentials, base_url=self.base_url, **options)

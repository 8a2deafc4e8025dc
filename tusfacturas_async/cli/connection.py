"""Where the commands find the service: credentials and, for a sandbox, the URL from the environment."""

from __future__ import annotations

import os
from typing import Any

from ..client import BASE_URL, AsyncClient
from ..models import Credentials


def connect(**options: Any) -> AsyncClient:
    """A client of the environment's credentials, at ``TUSFACTURAS_BASE_URL`` if that is set.

    Raises:
        ValueError: A credential is missing, or an option out of range.
    """
    base_url = os.environ.get("TUSFACTURAS_BASE_URL") or BASE_URL
    return AsyncClient(Credentials.from_env(), base_url=base_url, **options)

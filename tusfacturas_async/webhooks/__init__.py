"""Webhooks: what the service tells by itself."""

from .events import EncoladoWebhook, parse_webhook

__all__ = ["EncoladoWebhook", "parse_webhook"]

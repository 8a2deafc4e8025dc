"""Every text that the command line prints by itself, in English and in Spanish. No logic but the choice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES: Final = ("en", "es")

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "language": ("en", "es"),
    "title": ("What became of each voucher", "Qué pasó con cada comprobante"),
    "reference": ("reference", "referencia"),
    "outcome": ("outcome", "resultado"),
    "told by": ("told by", "según"),
    "billed": ("billed", "facturado"),
    "webhook": ("webhook", "webhook"),
    "why": ("why", "por qué"),
    "accepted": ("accepted", "aceptado"),
    "not_found": ("not found", "no encontrado"),
    "rejected": ("rejected", "rechazado"),
    "not_sent": ("not sent", "no enviado"),
    "unknown": ("unknown", "desconocido"),
    "skipped": ("nothing to do", "nada que hacer"),
    "held": ("held", "retenido"),
    "sending": ("sending", "enviando"),
    "accepted means": ("in the queue again, or further", "otra vez en la cola, o más adelante"),
    "not_found means": (
        "no voucher with an error has this reference",
        "ningún comprobante con error tiene esta referencia",
    ),
    "rejected means": ("correct it before another try", "hay que corregirlo antes de reintentar"),
    "not_sent means": ("safe to run again", "se puede volver a ejecutar sin riesgo"),
    "unknown means": (
        "it may have arrived: look it up before another try",
        "puede haber llegado: consultalo antes de reintentar",
    ),
    "skipped means": ("settled before, or not errored", "resuelto antes, o sin error"),
    "held means": ("not sent: run again", "no enviado: volver a ejecutar"),
    "in the journal": ("{outcome} in the journal", "{outcome} en el registro"),
    "summary": ("{count} vouchers: {counts}", "{count} comprobantes: {counts}"),
    "billed calls": ("billed calls: {count}", "llamadas facturadas: {count}"),
    "saved calls": ("saved by the check: {count}", "ahorradas por la consulta: {count}"),
    "confirmed": ("confirmed by webhook: {count}", "confirmados por webhook: {count}"),
    "progress": ("in flight: {flight}; billed: {billed}", "en vuelo: {flight}; facturadas: {billed}"),
    "dry run": (
        "dry run: {send} of {count} would be re-sent, for up to {send} billed calls; nothing was sent",
        "simulacro: se reenviarían {send} de {count}, hasta {send} llamadas facturadas; no se envió nada",
    ),
    "ask": (
        "{send} vouchers will be re-sent, each for a billed call. Go on? [y/N] ",
        "Se reenviarán {send} comprobantes, cada uno con una llamada facturada. ¿Seguir? [s/N] ",
    ),
    "yes": ("y yes", "s si sí y"),
    "declined": ("nothing was sent", "no se envió nada"),
    "stopped": ("stopped: {why}", "detenido: {why}"),
    "interrupted": (
        "interrupted: {done} done, {left} not sent, {unclear} unclear. What was in flight was let finish.",
        "interrumpido: {done} listos, {left} no enviados, {unclear} sin aclarar. Lo que ya volaba terminó.",
    ),
    "rerun with": (
        "To go on, run the same command again: the journal {journal} keeps it from repeating anything.",
        "Para seguir, repetí el mismo comando: el registro {journal} evita que se repita nada.",
    ),
    "rerun without": (
        "To go on, run it again with --check-first: only what is still errored is sent.",
        "Para seguir, repetilo con --check-first: solo se envía lo que sigue con error.",
    ),
    "nothing": ("nothing to re-send", "no hay nada para reenviar"),
    "deleted": ("deleted: {reference}", "eliminado: {reference}"),
    "date changed": ("date changed: {reference}", "fecha cambiada: {reference}"),
    "receiving": (
        "receiving webhooks at {url}, keeping them in {inbox}; Ctrl-C ends it",
        "recibiendo webhooks en {url}, guardados en {inbox}; Ctrl-C termina",
    ),
    "sandbox": ("the sandbox serves at {url}; Ctrl-C ends it", "el sandbox atiende en {url}; Ctrl-C termina"),
    "resend": ("re-send it", "reenviarlo"),
    "change_date": (
        "change its date, or synchronise the numbering",
        "cambiar la fecha, o sincronizar la numeración",
    ),
    "delete_and_recreate": (
        "delete it, and send it again corrected",
        "eliminarlo y volver a enviarlo corregido",
    ),
    "fix_setup": ("fix the set-up, then re-send it", "corregir la configuración y reenviarlo"),
    "unsure": ("a person must look", "lo tiene que ver una persona"),
    "report title": ("Re-sending errored vouchers", "Reenvío de comprobantes con error"),
    "needs a person": ("What needs a person", "Lo que necesita una persona"),
    "advice": ("advice", "consejo"),
    "latency": ("Seconds per request", "Segundos por pedido"),
    "rate": ("Requests per second", "Pedidos por segundo"),
    "nobody": ("Nothing needs a person.", "Nada necesita una persona."),
}

_chosen = 0


def choose(language: str | None) -> None:
    """Set the language, "en" or "es"; ``None`` for the locale's (``LC_ALL``, ``LC_MESSAGES``, ``LANG``)."""
    global _chosen  # noqa: PLW0603 - one command line, one language
    if language is None:
        locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
        language = locale[:2].lower()
    _chosen = LANGUAGES.index(language) if language in LANGUAGES else 0


def say(key: str, **values: object) -> str:
    """The text of this key in the chosen language, its places filled."""
    return _TEXTS[key][_chosen].format(**values)

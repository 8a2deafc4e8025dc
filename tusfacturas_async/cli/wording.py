"""Every text that the command line prints by itself, in English and in Spanish. Nothing else.

A text with a bar has two forms: for one, and for any other ``count``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDING: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("What became of each voucher", "Qué pasó con cada comprobante"),
    "reference": ("reference", "referencia"),
    "outcome": ("outcome", "resultado"),
    "told by": ("told by", "según"),
    "by response": ("response", "respuesta"),
    "by lookup": ("lookup", "consulta"),
    "by journal": ("journal", "registro"),
    "by webhook": ("webhook", "webhook"),
    "by -": ("-", "-"),
    "billed": ("billed", "facturado"),
    "webhook": ("webhook", "webhook"),
    "why": ("why", "por qué"),
    "accepted": ("accepted", "aceptado|aceptados"),
    "not_found": ("not found", "no encontrado|no encontrados"),
    "rejected": ("rejected", "rechazado|rechazados"),
    "not_sent": ("not sent", "no enviado|no enviados"),
    "unknown": ("unknown", "desconocido|desconocidos"),
    "skipped": ("nothing to do", "nada que hacer"),
    "held": ("held", "retenido|retenidos"),
    "sending": ("sending", "enviando"),
    "waiting": ("waiting", "en espera"),
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
    "summary": (
        "{count} voucher: {counts}|{count} vouchers: {counts}",
        "{count} comprobante: {counts}|{count} comprobantes: {counts}",
    ),
    "billed calls": ("billed calls: {count}", "llamadas facturadas: {count}"),
    "saved calls": ("saved by the check: {count}", "ahorradas por la consulta: {count}"),
    "confirmed": (
        "confirmed by webhook: {count}",
        "confirmado por webhook: {count}|confirmados por webhook: {count}",
    ),
    "progress": ("in flight: {flight}; billed: {billed}", "en vuelo: {flight}; facturadas: {billed}"),
    "waits rate_limit": (
        "asked to slow down (429): waits {seconds} s",
        "piden ir más lento (429): espera {seconds} s",
    ),
    "waits maintenance": ("maintenance: waits {seconds} s", "mantenimiento: espera {seconds} s"),
    "dry run": (
        "dry run: {send} of {count} would be re-sent: {cost}; nothing was sent",
        "simulacro: se reenviarían {send} de {count}: {cost}; no se envió nada",
    ),
    "dry run delete": (
        "dry run: {reference} of {fecha} would be deleted: {cost}; nothing was sent",
        "simulacro: se eliminaría {reference} del {fecha}: {cost}; no se envió nada",
    ),
    "dry run change_date": (
        "dry run: {reference} would get {fecha}, due {due}: {cost}; nothing was sent",
        "simulacro: {reference} pasaría al {fecha}, con vencimiento {due}: {cost}; no se envió nada",
    ),
    "cost": (
        (
            "{count} billed call if nothing goes wrong, at most {most}"
            "|{count} billed calls if nothing goes wrong, at most {most}"
        ),
        (
            "{count} llamada facturada si nada falla, {most} como máximo"
            "|{count} llamadas facturadas si nada falla, {most} como máximo"
        ),
    ),
    "cost of maintenance": (
        " (and one for each answer that tells of maintenance)",
        " (y una por cada respuesta que avise de mantenimiento)",
    ),
    "where": ("{host}, point of sale {point}:", "{host}, punto de venta {point}:"),
    "ask reprocess": (
        "{count} voucher will be re-sent|{count} vouchers will be re-sent",
        "se reenviará {count} comprobante|se reenviarán {count} comprobantes",
    ),
    "ask delete": ("{reference} of {fecha} will be deleted", "se eliminará {reference} del {fecha}"),
    "ask change_date": (
        "{reference} will get {fecha}, due {due}",
        "{reference} pasará al {fecha}, con vencimiento {due}",
    ),
    "ask": ("Go on? [y/N] ", "¿Seguir? [s/N] "),
    "nobody to ask": (
        "{what}: there is no terminal to ask on, so nothing was sent. Give --yes to do it, --dry-run to see",
        (
            "{what}: no hay una terminal donde preguntar, así que no se envió nada. "
            "Con --yes se hace, con --dry-run se ve"
        ),
    ),
    "stopping": (
        (
            "stopping: {count} in flight is let finish; once more ends at once"
            "|stopping: {count} in flight are let finish; once more ends at once"
        ),
        (
            "parando: se deja terminar {count} en vuelo; otra vez, y termina ya"
            "|parando: se dejan terminar {count} en vuelo; otra vez, y termina ya"
        ),
    ),
    "interrupted": ("interrupted: {parts}; {count} in all", "interrumpido: {parts}; {count} en total"),
    "n done": ("{count} done", "{count} listo|{count} listos"),
    "n not sent": ("{count} not sent", "{count} no enviado|{count} no enviados"),
    "n unclear": ("{count} unclear", "{count} sin aclarar"),
    "n not found": ("{count} not found", "{count} no encontrado|{count} no encontrados"),
    "n rejected": ("{count} rejected", "{count} rechazado|{count} rechazados"),
    "n in flight": ("{count} in flight when it ended", "{count} en vuelo al terminar"),
    "in flight means": (
        (
            "What was in flight may have arrived, and been billed: with a journal the next run looks it up; "
            "without one, use --check-first."
        ),
        (
            "Lo que estaba en vuelo puede haber llegado, y haberse facturado: con un registro la próxima vez se "
            "consulta; "
            "sin él, usá --check-first."
        ),
    ),
    "one interrupted": (
        "interrupted: {reference} was in flight and may have arrived: look it up before another try",
        "interrumpido: {reference} estaba en vuelo y puede haber llegado: consultalo antes de reintentar",
    ),
    "rest": (
        (
            "{count} that ended well or was not begun is not shown; --output FILE keeps every one"
            "|{count} that ended well or were not begun are not shown; --output FILE keeps every one"
        ),
        (
            "{count} que terminó bien o no se empezó no se muestra; --output ARCHIVO guarda todos"
            "|{count} que terminaron bien o no se empezaron no se muestran; --output ARCHIVO guarda todos"
        ),
    ),
    "the input": ("the input", "la entrada"),
    "standard output": ("standard output", "la salida estándar"),
    "same file": (
        "{what} is the same file as {other}",
        "{what} es el mismo archivo que {other}",
    ),
    "cannot write": ("cannot write {path}: {why}", "no se puede escribir {path}: {why}"),
    "kept beside": ("what was written is in {path}", "lo que se escribió está en {path}"),
    "not shown": (
        "standard output is closed or full ({why}); here is what it was to show:",
        "la salida estándar está cerrada o llena ({why}); esto es lo que iba a mostrar:",
    ),
    "errno EACCES": ("Permission denied", "no hay permiso"),
    "errno EADDRINUSE": ("Address already in use", "el puerto está ocupado"),
    "errno EISDIR": ("Is a directory", "es una carpeta"),
    "errno ENOENT": ("No such file or directory", "no existe"),
    "errno ENOSPC": ("No space left on device", "el disco está lleno"),
    "errno EPIPE": ("Broken pipe", "quien leía se fue"),
    "cannot read": ("cannot read {path}: {why}", "no se puede leer {path}: {why}"),
    "wrong encoding": (
        "{path} is not in {encoding} (byte {byte}): save it as UTF-8, or name its encoding: --encoding cp1252",
        "{path} no está en {encoding} (byte {byte}): guardalo como UTF-8, o decí en qué está: --encoding cp1252",
    ),
    "no encoding": ("--encoding {encoding}: nobody knows it", "--encoding {encoding}: nadie lo conoce"),
    "no file": ("there is no file {path}", "no existe el archivo {path}"),
    "names nothing": (
        "{path} names no reference: give one external_reference a line",
        "{path} no nombra ninguna referencia: va un external_reference por línea",
    ),
    "no column": (
        "{path} has no column '{column}'; it has {has}: choose one with {option}",
        "{path} no tiene la columna '{column}'; tiene {has}: elegí una con {option}",
    ),
    "no header": (
        (
            "{path} is a list without a header, so it has no column for --lane-column: give a CSV file whose first "
            "line names its columns, or --in-order"
        ),
        (
            "{path} es una lista sin encabezado, así que no tiene columnas para --lane-column: usá un CSV cuya "
            "primera línea nombre sus columnas, o --in-order"
        ),
    ),
    "blank": (
        "{count} row has no reference and is left out|{count} rows have no reference and are left out",
        "{count} renglón no tiene referencia y queda afuera|{count} renglones no tienen referencia y quedan afuera",
    ),
    "cannot be sent": (
        "{count} reference cannot be sent|{count} references cannot be sent",
        "{count} referencia no se puede enviar|{count} referencias no se pueden enviar",
    ),
    "any characters": (
        "vouchers that exist under them can be re-sent with --any-characters",
        "si ya existen comprobantes con ellas, se reenvían con --any-characters",
    ),
    "no reference": ("no external_reference in it", "no tiene external_reference"),
    "line": ("line {line}: {why}", "línea {line}: {why}"),
    "and more": ("and {count} more", "y {count} más"),
    "ending": (
        "--output {path}: the name must end in .jsonl or .csv",
        "--output {path}: el nombre debe terminar en .jsonl o .csv",
    ),
    "file or dates": (
        "name a file (or - for standard input), or give --errored-since DATE: one of the two",
        "nombrá un archivo (o - para la entrada estándar), o usá --errored-since FECHA: uno de los dos",
    ),
    "sandbox needs": (
        "--sandbox needs a file: its sandbox is made of the references in it",
        "--sandbox necesita un archivo: el sandbox se arma con sus referencias",
    ),
    "until needs": ("--until needs --errored-since", "--until necesita --errored-since"),
    "failed needs": (
        "--failed needs a file: an earlier --output or a journal",
        "--failed necesita un archivo: un --output anterior o un registro",
    ),
    "order or lanes": (
        "--in-order sends everything as one lane: leave out --lane-column, or leave out --in-order",
        "--in-order envía todo en una sola fila: sacá --lane-column, o sacá --in-order",
    ),
    "texts or inbox": (
        "give the error's texts, or --inbox FILE: one of the two",
        "dá los textos del error, o --inbox ARCHIVO: uno de los dos",
    ),
    "yes": ("y yes", "s si sí y"),
    "declined": ("nothing was sent", "no se envió nada"),
    "stopped": ("stopped: {why}", "detenido: {why}"),
    "rerun with": (
        "To go on, run the same command again: the journal {journal} keeps it from repeating anything.",
        "Para seguir, repetí el mismo comando: el registro {journal} evita que se repita nada.",
    ),
    "rerun without": (
        "To go on, run it again with --check-first: only what is still errored is sent.",
        "Para seguir, repetilo con --check-first: solo se envía lo que sigue con error.",
    ),
    "nothing": ("nothing to re-send", "no hay nada para reenviar"),
    "due first": (
        "VENCIMIENTO comes before FECHA: the tax authority refuses it",
        "VENCIMIENTO es anterior a FECHA: ARCA lo rechaza",
    ),
    "until first": ("the last date comes before the first", "la última fecha es anterior a la primera"),
    "deleted": ("deleted: {reference}", "eliminado: {reference}"),
    "date changed": ("date changed: {reference}", "fecha cambiada: {reference}"),
    "receiving": (
        "receiving webhooks at {url}, keeping them in {inbox}; Ctrl-C ends it",
        "recibiendo webhooks en {url}, guardados en {inbox}; Ctrl-C termina",
    ),
    "sandbox console": ("console: {url}", "consola: {url}"),
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
    "latency": ("Seconds per call", "Segundos por comprobante"),
    "nobody": ("Nothing needs a person.", "Nada necesita una persona."),
    "next": ("the command to run next", "el comando que sigue"),
    "a date": ("YYYY-MM-DD", "AAAA-MM-DD"),
    "a due date": ("YYYY-MM-DD", "AAAA-MM-DD"),
    "unknown helps": (
        "look it up: if it is still errored, re-send it; if it is queued or issued, it is done",
        "consultalo: si sigue con error, reenvialo; si está en cola o emitido, ya está",
    ),
    "not_found helps": (
        "look it up: it may be issued or queued already, or have another reference",
        "consultalo: puede estar emitido o en cola, o tener otra referencia",
    ),
    "rejected helps": ("mend the reference, or the voucher's data", "corregí la referencia, o los datos"),
    "not_sent helps": ("nothing was sent for it: run it again", "no se envió: volvé a ejecutarlo"),
    "held helps": (
        "it waits behind another, or the run ended: run it again",
        "espera detrás de otro, o la ejecución terminó: volvé a ejecutarlo",
    ),
    "skipped helps": (
        "the journal settled it before: see why there",
        "el registro lo resolvió antes: mirá ahí por qué",
    ),
    "report date": ("When", "Cuándo"),
    "report duration": ("Duration", "Duración"),
    "report source": ("Source", "Origen"),
    "report host": ("Host", "Servidor"),
    "report point": ("Point of sale", "Punto de venta"),
    "report command": ("Command", "Comando"),
    "dates": ("errored from {since} to {until}", "con error del {since} al {until}"),
    "timeline": ("Calls by what became of their voucher", "Llamadas según cómo terminó su comprobante"),
    "timeline note": ("by time of day (UTC-3)", "por hora (UTC-3)"),
    "held up": ("What held it up", "Qué lo demoró"),
    "mark rate_limit": ("refused by the rate limit (429)", "rechazadas por el límite (429)"),
    "mark backoff": ("waits before another try", "esperas antes de otro intento"),
    "mark retry_after": ("waits that the service asked for", "esperas que pidió el servicio"),
    "mark maintenance": ("maintenance", "mantenimiento"),
    "latency note": (
        "median {median} s, 99th percentile {p99} s",
        "mediana {median} s, percentil 99 {p99} s",
    ),
    "latency axis": (
        ", by seconds from the start to the answer; the slowest in the last bar",
        ", por segundos hasta la respuesta; las más lentas en la última barra",
    ),
    "calls": ("calls", "llamadas"),
    "lanes that stopped": ("Lanes that stopped", "Filas que se detuvieron"),
    "lane stopped": (
        "stopped behind {reference} ({outcome}); {count} waits|stopped behind {reference} ({outcome}); {count} wait",
        "se detuvo detrás de {reference} ({outcome}); {count} espera|se detuvo detrás de {reference} ({outcome}); {count} esperan",
    ),
    "error access": ("{told}", "el servicio niega el acceso: revisá las credenciales ({told})"),
    "error reference": ("{told}", "la referencia no se puede enviar ({told})"),
    "error journal": ("{told}", "el registro no se puede usar ({told})"),
    "error maintenance": ("{told}", "el servicio está en mantenimiento ({told})"),
    "error not found": ("{told}", "ningún comprobante con error tiene esta referencia ({told})"),
    "error rate": ("{told}", "el servicio rechazó por límite de llamadas ({told})"),
    "error unexpected": ("{told}", "una respuesta que nadie documenta ({told})"),
    "error not sent": ("{told}", "no se envió ({told})"),
    "error value": ("{told}", "un valor no se puede usar ({told})"),
    "error unknown": ("{told}", "puede haber llegado, y la consulta no lo pudo decir ({told})"),
    "help tusfacturas": (
        "re-send the errored vouchers of a TusFacturasAPP queue, and know what became of each",
        "reenviar los comprobantes con error de una cola de TusFacturasAPP, y saber qué pasó con cada uno",
    ),
    "help journal": ("What a journal remembers.", "Lo que recuerda un registro."),
    "help webhooks": ("Receive what the service tells by itself.", "Recibir lo que el servicio avisa solo."),
    "help sandbox": ("A local stand-in for the service.", "Un servicio simulado y local."),
    "help fleet": (
        "Many workers, one truth, on PostgreSQL (TUSFACTURAS_DATABASE).",
        "Muchos workers, una verdad, sobre PostgreSQL (TUSFACTURAS_DATABASE).",
    ),
    "help commands": ("Commands", "Comandos"),
    "help arguments": ("Arguments", "Argumentos"),
    "help everywhere": ("Options of every command", "Opciones de todos los comandos"),
    "help parameters": ("Options", "Opciones"),
    "help usage": ("Usage: {line}", "Uso: {line}"),
    "help options": ("[OPTIONS]", "[OPCIONES]"),
    "help args": ("[ARGUMENTS", "[ARGUMENTOS"),
    "help command": ("COMMAND", "COMANDO"),
    "help STR": ("TEXT", "TEXTO"),
    "help INT": ("NUMBER", "NÚMERO"),
    "help FLOAT": ("NUMBER", "NÚMERO"),
    "help PATH": ("FILE", "ARCHIVO"),
    "help DATE": ("DATE", "FECHA"),
    "help FILE": ("FILE", "ARCHIVO"),
    "help NAME": ("NAME", "NOMBRE"),
    "help REFERENCE": ("REFERENCE", "REFERENCIA"),
    "help REFERENCES": ("REFERENCES", "REFERENCIAS"),
    "help SINCE": ("SINCE", "DESDE"),
    "help TEXTS": ("TEXTS", "TEXTOS"),
    "help UNTIL": ("UNTIL", "HASTA"),
    "help default": ("[default: {value}]", "[si se omite: {value}]"),
    "help choices": ("[one of: {names}]", "[uno de: {names}]"),
    "help variable": ("[or by the environment: {name}]", "[o por el entorno: {name}]"),
    "help required": ("[required]", "[obligatorio]"),
    "help --help": ("Show this help.", "Mostrar esta ayuda."),
    "help --version": ("Show the version.", "Mostrar la versión."),
    "help name": ("NAME", "NOMBRE"),
    "unknown option": ("there is no option {option}", "no existe la opción {option}"),
    "unknown command": ("there is no command {command}", "no existe el comando {command}"),
    "known commands": ("; the commands: {names}", "; los comandos: {names}"),
    "did you mean": (": did you mean {name}?", ": ¿quisiste decir {name}?"),
    "not a date": (
        "{option}: {value} is not a date: write YYYY-MM-DD, as 2026-03-18",
        "{option}: {value} no es una fecha: va AAAA-MM-DD, como 2026-03-18",
    ),
    "not a whole number": (
        "{option}: {value} is not a whole number",
        "{option}: {value} no es un número entero",
    ),
    "not a number": ("{option}: {value} is not a number", "{option}: {value} no es un número"),
    "not a value": ("{option} cannot be {value}: see --help", "{option} no puede ser {value}: mirá --help"),
    "given twice": ("{option} is given twice", "{option} está dos veces"),
    "too many": (
        "nobody knows what to do with {tokens}: see --help",
        "nadie sabe qué hacer con {tokens}: mirá --help",
    ),
    "missing": ("{option} is missing: see --help", "falta {option}: mirá --help"),
    "no function": (
        "--resolve {path} is not MODULE:FUNCTION that can be imported: {why}",
        "--resolve {path} no es MÓDULO:FUNCIÓN que se pueda importar: {why}",
    ),
    "no language": ("--lang must be one of {languages}", "--lang debe ser uno de {languages}"),
    "out of range": ("{option} is out of its range: see --help", "{option} está fuera de rango: mirá --help"),
    "no credentials": (
        (
            "set the environment variable {names}, or name a file with --env-file or --profile"
            "|set the environment variables {names}, or name a file with --env-file or --profile"
        ),
        (
            "falta la variable de entorno {names}, o un archivo con --env-file o --profile"
            "|faltan las variables de entorno {names}, o un archivo con --env-file o --profile"
        ),
    ),
    "no database": (
        "set the environment variable TUSFACTURAS_DATABASE, as postgresql://user@host/database",
        "falta la variable de entorno TUSFACTURAS_DATABASE, como postgresql://usuario@servidor/base",
    ),
    "no webhook token": (
        "set the environment variable TUSFACTURAS_WEBHOOK_TOKEN to the webhook's token",
        "poné el token del webhook en la variable de entorno TUSFACTURAS_WEBHOOK_TOKEN",
    ),
    "profile or file": (
        "give --profile or --env-file: one of the two",
        "usá --profile o --env-file: uno de los dos",
    ),
    "no profile": (
        "there is no profile {name}: it would be {path}; there are: {known}",
        "no existe el perfil {name}: sería {path}; existen: {known}",
    ),
    "others read": (
        "{path} holds credentials, and other users can read it: chmod 600 {path}",
        "{path} tiene credenciales, y otros usuarios pueden leerlo: chmod 600 {path}",
    ),
    "checked": (
        "{where} the service takes these credentials ({seconds} s)",
        "{where} el servicio toma estas credenciales ({seconds} s)",
    ),
    "nobody has": ("nobody has {reference}", "nadie tiene {reference}"),
    "nothing told": (
        "{path} does not tell what became of its references: --failed needs an earlier --output or a journal",
        "{path} no dice qué pasó con sus referencias: --failed necesita un --output anterior o un registro",
    ),
    "all well": (
        "everything in {path} ended well: nothing to re-send",
        "todo en {path} terminó bien: nada para reenviar",
    ),
    "name something": (
        "name references, or a file with --file",
        "nombrá referencias, o un archivo con --file",
    ),
    "reference empty": ("it is empty", "está vacía"),
    "reference long": (
        "it has {length} characters, at most 255 are allowed",
        "tiene {length} caracteres, se permiten 255 como máximo",
    ),
    "reference characters": (
        "'{reference}' has '{character}' at position {position}: only letters, digits, '_' and '-' are allowed",
        "'{reference}' tiene '{character}' en la posición {position}: solo se permiten letras, números, '_' y '-'",
    ),
    "reference surrogate": (
        "'{reference}' has half a character, which cannot be sent",
        "'{reference}' tiene medio carácter, que no se puede enviar",
    ),
}

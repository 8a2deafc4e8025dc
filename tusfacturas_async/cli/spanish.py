"""The help of every command in Spanish: the same parts as its docstring, which is the help in English."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_YES = "No preguntar; sin una terminal nada facturado empieza sin esto."
_ENCODING = (
    "En qué está escrito el archivo, como cp1252; si se omite: UTF-8, o UTF-16 si su comienzo lo dice."
)
_COLUMN = "La columna del CSV con las referencias."
_JSON = "Un objeto JSON por línea."

DOCS: Final[Mapping[str, str]] = {
    "launch": """Ejecutar un comando.

    Args:
        tokens: El comando.
        lang: en o es; si se omite, el del sistema.
        profile: Las credenciales de ~/.config/tusfacturas/PERFIL.env.
        env_file: Las credenciales de este archivo: líneas como TUSFACTURAS_APIKEY=1134, y lo mismo con APITOKEN y
            USERTOKEN. Sin archivo se toman del entorno.
        base_url: Dónde está el servicio; TUSFACTURAS_BASE_URL hace lo mismo.
        timeout: Segundos para cada intento.
        debug: Mostrar los rastros de los errores.
    """,
    "reprocess": f"""Reenviar cada comprobante que ARCHIVO nombra, o que está con error, y decir qué pasó con cada uno.

    Cada reenvío se factura, así que primero se pregunta. Estado de salida: 0 todos aceptados o nada que hacer,
    1 algunos no, 2 mal uso, 3 no se pudieron escribir los resultados, 130 interrumpido.

    Por ejemplo, un ensayo que no factura nada; la pasada de la noche; y otra vez lo que no terminó bien:

      $ tusfacturas reprocess referencias.txt --sandbox
      $ tusfacturas reprocess --errored-since 2026-03-18 --journal pasada.journal --output resultados.csv
      $ tusfacturas reprocess resultados.csv --failed

    Args:
        file: Un archivo de texto con un external_reference por línea, un CSV con encabezado, un --output o un
            registro anterior, o - para la entrada estándar.
        errored_since: En vez de un archivo: lo que está con error desde esta fecha (AAAA-MM-DD), en el orden del
            proveedor.
        until: La última fecha para --errored-since; si se omite, solo la primera.
        column: {_COLUMN}
        lane_column: Una columna del CSV que dice la fila: lo que tiene el mismo valor se reenvía de a uno, en su
            orden. Dos veces para el orden del proveedor: --lane-column punto_venta --lane-column tipo.
        in_order: Reenviar todo de a uno, en el orden dado.
        any_characters: Tomar referencias con caracteres que no se permiten, de comprobantes que ya existen.
        encoding: {_ENCODING}
        failed: De un --output anterior o de un registro, solo lo que no terminó bien.
        check_first: Consultar todo antes, gratis, y reenviar solo lo que está con error.
        journal: Un archivo que recuerda lo enviado: al repetir después de una caída, nada se repite.
        output: Escribir cada resultado en este archivo .jsonl o .csv apenas termina; se puede dar dos veces.
            Con - cada uno es un objeto JSON en la salida estándar.
        json: Lo mismo que --output -.
        report: Escribir al final una página HTML.
        concurrency: Llamadas en vuelo como máximo.
        interval: Segundos entre los comienzos de dos llamadas.
        wait_maintenance: Segundos que se espera el fin de un mantenimiento, como máximo; si se omite, se detiene.
        dry_run: Decir qué se enviaría y cuánto costaría, y no enviar nada.
        yes: {_YES}
        quiet: Ni progreso ni tabla: solo los totales y lo que salió mal.
        sandbox: Llamar a un servicio simulado y local, con estos comprobantes en estados mezclados.
    """,
    "lookup": f"""Mostrar comprobantes por referencia, gratis; estado de salida 1 si nadie tiene alguna.

    Por ejemplo:

      $ tusfacturas lookup pedido-1 pedido-2
      $ tusfacturas lookup --file referencias.txt --json

    Args:
        references: Qué consultar.
        file: También las que nombra este archivo, como en reprocess; - para la entrada estándar.
        column: {_COLUMN}
        encoding: {_ENCODING}
        json: {_JSON}
    """,
    "check": """Mostrar si el servicio toma estas credenciales, gratis; estado de salida 1 si no.

    Por ejemplo, con las de ~/.config/tusfacturas/negocio.env:

      $ tusfacturas check --profile negocio
    """,
    "errored": f"""Mostrar lo que está con error, en el orden del primer envío, gratis.

    Por ejemplo:

      $ tusfacturas errored 2026-03-17 2026-03-19

    Args:
        since: La primera fecha (AAAA-MM-DD).
        until: La última fecha; si se omite, solo la primera.
        json: {_JSON}
    """,
    "delete": f"""Eliminar un comprobante de la cola; se factura, así que primero se pregunta.

    Por ejemplo:

      $ tusfacturas delete pedido-2 2026-03-18 --dry-run

    Args:
        reference: El external_reference del comprobante.
        fecha: La fecha del comprobante (AAAA-MM-DD).
        yes: {_YES}
        dry_run: Mostrar el comprobante y cuánto costaría, y no cambiar nada.
    """,
    "change_date": f"""Cambiar las fechas de un comprobante, que así se reprocesa; se factura, así que se pregunta.

    Por ejemplo:

      $ tusfacturas change-date pedido-1 2026-03-19 2026-04-19

    Args:
        reference: El external_reference del comprobante.
        fecha: Su nueva fecha (AAAA-MM-DD).
        vencimiento: Su nuevo vencimiento.
        yes: {_YES}
        dry_run: Mostrar el comprobante y cuánto costaría, y no cambiar nada.
    """,
    "triage": f"""Decir qué remedio ayuda, según los textos de un error o una bandeja de webhooks.

    Por ejemplo:

      $ tusfacturas triage "Cod. Error: #6661145.10036 - El campo FchVtoPago ..."
      $ tusfacturas triage --inbox webhooks.db

    Args:
        texts: Los textos del error.
        inbox: En vez de textos: los comprobantes con error de esta bandeja.
        json: {_JSON}
    """,
    "journal_show": f"""Mostrar cuántos comprobantes terminaron de cada forma; con --json, cada renglón.

    Por ejemplo:

      $ tusfacturas journal show pasada.journal

    Args:
        file: El registro.
        json: {_JSON}
    """,
    "webhooks_serve": """Recibir webhooks en 127.0.0.1, mostrar cada uno y guardarlos; el túnel va delante.

    Por ejemplo, con el token que muestra el servicio:

      $ TUSFACTURAS_WEBHOOK_TOKEN=... tusfacturas webhooks serve --inbox webhooks.db

    Args:
        inbox: El archivo que los guarda.
        port: Dónde escuchar; 0 para cualquier puerto libre.
        token: El token de webhooks del punto de venta; varios mientras uno reemplaza a otro. Mejor en la variable
            de entorno que en la línea de comandos, que ven otros usuarios de la máquina.
    """,
    "sandbox_serve": """Servir un sandbox en 127.0.0.1, con los comprobantes que ARCHIVO nombra, todos con error, y su consola.

    Por ejemplo, con sus webhooks hacia el receptor de otra terminal:

      $ tusfacturas sandbox serve referencias.txt --webhook http://127.0.0.1:8400/

    Args:
        file: Como en reprocess.
        port: Dónde escuchar; 0 para cualquier puerto libre.
        webhook: La URL a la que van sus webhooks.
        webhook_token: El token que llevan.
    """,
    "migrate": """Crear el esquema, o llevarlo a esta versión; antes de que arranquen workers de una versión nueva.

    Por ejemplo; en esta variable encuentra PostgreSQL cada comando de la flota:

      $ TUSFACTURAS_DATABASE="host=db dbname=facturas" tusfacturas fleet migrate
    """,
    "submit": f"""Tomar los comprobantes que ARCHIVO nombra, y decir cuántos eran nuevos.

    Por ejemplo:

      $ tusfacturas fleet submit pdv-12 referencias.csv --lane-column punto_venta --lane-column tipo

    Args:
        name: El nombre del punto de venta.
        file: Como en reprocess.
        column: {_COLUMN}
        lane_column: Una columna del CSV que dice la fila; se puede dar dos veces.
        encoding: {_ENCODING}
    """,
    "status": """Mostrar cuántos comprobantes hay de cada resultado; estado de salida 1 mientras quede alguno.

    También en qué puntos de venta no se puede trabajar, y por qué.

    Por ejemplo:

      $ tusfacturas fleet status pdv-12

    Args:
        name: De un punto de venta; si se omite, de todos.
        json: Como un objeto JSON.
    """,
    "results": """Mostrar cada comprobante de un punto de venta, un objeto JSON por línea.

    Por ejemplo:

      $ tusfacturas fleet results pdv-12 > resultados.jsonl

    Args:
        name: El nombre del punto de venta.
    """,
    "worker": """Enviar hasta SIGTERM, y entonces vaciar: lo que está en vuelo termina y queda registrado.

    Por ejemplo, con la función de negocio/credenciales.py que se llama de:

      $ tusfacturas fleet worker --resolve negocio.credenciales:de

    Args:
        resolve: MÓDULO:FUNCIÓN que dice las credenciales de un punto de venta según su nombre.
        points: Puntos de venta a la vez.
        concurrency: Llamadas en vuelo como máximo.
        interval: Segundos entre los comienzos de dos llamadas de un punto de venta.
        lease: Segundos después de los cuales otro worker sigue, si este ya no está.
    """,
    "completion": """Escribir lo que le enseña estos comandos a un shell.

    Por ejemplo, una vez para bash, zsh o fish:

      $ tusfacturas completion bash > ~/.local/share/bash-completion/completions/tusfacturas
      $ tusfacturas completion zsh > ~/.zfunc/_tusfacturas
      $ tusfacturas completion fish > ~/.config/fish/completions/tusfacturas.fish

    Args:
        shell: Qué shell.
    """,
    "manual": """Escribir la página del manual.

    Por ejemplo:

      $ tusfacturas --lang es manual > ~/.local/share/man/es/man1/tusfacturas.1
    """,
}


def in_spanish(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with its help in Spanish; the one that was given stays as it is."""
    assert isinstance(function, FunctionType)  # noqa: S101 - commands are plain functions
    code, names = function.__code__, function.__globals__
    told = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    told.__annotations__, told.__kwdefaults__ = function.__annotations__, function.__kwdefaults__
    told.__module__, told.__doc__ = function.__module__, DOCS[function.__name__]
    return told

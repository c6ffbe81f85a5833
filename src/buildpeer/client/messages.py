"""What this client says to people, in Spanish, Portuguese and English."""

import os
import unicodedata
from collections.abc import Mapping

from buildpeer.client.errors import ApiError, ClientError, NetworkError

LANGUAGES = ("es", "pt", "en")

_CATALOGUE: dict[str, tuple[str, str, str]] = {
    # states and outcomes
    "state.requested": ("por enviar", "a enviar", "to be sent"),
    "state.receiving": ("llegando", "chegando", "arriving"),
    "state.stored": ("recibido", "recebido", "received"),
    "state.scanning": ("buscando virus", "procurando vírus", "virus scan"),
    "state.deriving": ("preparando vistas", "preparando visualizações", "making previews"),
    "state.ready": ("listo", "pronto", "ready"),
    "state.known": ("ya estaba", "já estava lá", "already there"),
    "state.duplicate": ("repetido", "repetido", "duplicate"),
    "state.quarantined": ("en cuarentena", "em quarentena", "quarantined"),
    "state.unscannable": ("no se pudo revisar", "não pôde ser verificado", "could not be scanned"),
    "state.mismatched": ("llegó distinto", "chegou diferente", "arrived altered"),
    "state.failed": ("falló", "falhou", "failed"),
    "state.cancelled": ("cancelado", "cancelado", "cancelled"),
    "state.expired": ("venció", "expirou", "expired"),
    "state.skipped": ("omitido", "ignorado", "skipped"),
    "state.pending": ("en revisión", "em verificação", "still being checked"),
    # stages of sending
    "stage.waiting": ("en espera", "na fila", "waiting"),
    "stage.hashing": ("leyendo", "lendo", "reading"),
    "stage.announcing": ("anunciando", "anunciando", "announcing"),
    "stage.queued": ("en espera", "na fila", "waiting"),
    "stage.sending": ("enviando", "enviando", "sending"),
    "stage.pausing": ("reintentando", "tentando de novo", "retrying"),
    "waits.network": ("esperando la red", "esperando a rede", "waiting for the network"),
    "waits.server": ("esperando al servidor", "esperando o servidor", "waiting for the server"),
    "stage.checking": ("revisando", "verificando", "checking"),
    # problems of files
    "problem.hidden": (
        "Es un archivo oculto o del sistema.",
        "É um arquivo oculto ou do sistema.",
        "It is a hidden or system file.",
    ),
    "problem.hidden_folder": ("Es una carpeta oculta.", "É uma pasta oculta.", "It is a hidden folder."),
    "problem.linked_folder": (
        "Es un enlace a otra carpeta; envíe esa carpeta aparte.",
        "É um atalho para outra pasta; envie essa pasta à parte.",
        "It is a link to another folder; push that folder itself.",
    ),
    "problem.empty": (
        "El archivo está vacío (0 bytes).",
        "O arquivo está vazio (0 bytes).",
        "The file is empty (0 bytes).",
    ),
    "problem.missing": ("No existe.", "Não existe.", "It does not exist."),
    "problem.not_a_file": (
        "No es un archivo común.",
        "Não é um arquivo comum.",
        "It is not a regular file.",
    ),
    "problem.unreadable": (
        "No se puede leer; revise los permisos.",
        "Não é possível ler; verifique as permissões.",
        "It can't be read; check its permissions.",
    ),
    "problem.unreadable_why": (
        "No se puede leer: {why}.",
        "Não é possível ler: {why}.",
        "It can't be read: {why}.",
    ),
    "problem.name": (
        "Su nombre tiene caracteres dañados; cámbielo y vuelva a enviarlo.",
        "O nome tem caracteres corrompidos; renomeie o arquivo e envie de novo.",
        "Its name contains broken characters; rename it and push again.",
    ),
    "problem.changed": (
        "Cambió mientras se enviaba, dos veces. Ciérrelo en el programa que lo usa y vuelva a enviarlo.",
        "Mudou durante o envio, duas vezes. Feche-o no programa que o usa e envie de novo.",
        "It changed while being sent, twice. Close it in the program that uses it and push again.",
    ),
    "problem.lost": (
        "Se perdió la conexión. Repita el mismo comando para continuar.",
        "A conexão caiu. Repita o mesmo comando para continuar.",
        "The connection was lost. Run the same command again to continue.",
    ),
    "problem.pending": (
        "Llegó completo, pero el servidor aún no termina de revisarlo.",
        "Chegou completo, mas o servidor ainda não terminou de verificá-lo.",
        "It arrived in full, but the server has not finished checking it.",
    ),
    # errors
    "error.network": (
        "No hay conexión con BuildPeer ({why}).",
        "Sem conexão com o BuildPeer ({why}).",
        "BuildPeer can't be reached ({why}).",
    ),
    "error.storage": (
        "El almacenamiento no aceptó el archivo ({why}).",
        "O armazenamento não aceitou o arquivo ({why}).",
        "The storage did not accept the file ({why}).",
    ),
    "error.upload_incomplete": (
        "El almacenamiento perdió partes del archivo. Repita el mismo comando para continuar.",
        "O armazenamento perdeu partes do arquivo. Repita o mesmo comando para continuar.",
        "The storage lost parts of the file. Run the same command again to continue.",
    ),
    "error.not_signed_in": (
        "No ha iniciado sesión en {api}. Ejecute: buildpeer login",
        "Você não entrou em {api}. Execute: buildpeer login",
        "You are not signed in to {api}. Run: buildpeer login",
    ),
    "error.session_ended": (
        "Su sesión terminó. Ejecute: buildpeer login",
        "Sua sessão terminou. Execute: buildpeer login",
        "Your session has ended. Run: buildpeer login",
    ),
    "error.bad_credentials": (
        "El correo o la contraseña no son correctos.",
        "O e-mail ou a senha estão incorretos.",
        "The e-mail or the password is wrong.",
    ),
    "error.unknown_project": (
        "No hay ningún proyecto «{name}». Sus proyectos:",
        "Não existe nenhum projeto “{name}”. Seus projetos:",
        "There is no project “{name}”. Your projects:",
    ),
    "error.many_projects": (
        "Hay varios proyectos «{name}»; use el código o el id:",
        "Há vários projetos “{name}”; use o código ou o id:",
        "There are several projects “{name}”; use the code or the id:",
    ),
    "error.no_projects": (
        "Todavía no tiene acceso a ningún proyecto.",
        "Você ainda não tem acesso a nenhum projeto.",
        "You have no access to any project yet.",
    ),
    "error.and_more": ("… y {n} más", "… e mais {n}", "… and {n} more"),
    "error.no_terminal": (
        "Sin terminal, defina BUILDPEER_EMAIL y BUILDPEER_PASSWORD.",
        "Sem terminal, defina BUILDPEER_EMAIL e BUILDPEER_PASSWORD.",
        "Without a terminal, set BUILDPEER_EMAIL and BUILDPEER_PASSWORD.",
    ),
    "error.no_code": (
        "La cuenta pide un código. Sin terminal, páselo con --code o defina BUILDPEER_CODE.",
        "A conta pede um código. Sem terminal, passe-o com --code ou defina BUILDPEER_CODE.",
        "The account asks for a code. Without a terminal, give it with --code or set BUILDPEER_CODE.",
    ),
    "error.code_needed": (
        "La cuenta pide un código. Ejecute: buildpeer login",
        "A conta pede um código. Execute: buildpeer login",
        "The account asks for a code. Run: buildpeer login",
    ),
    "error.code_wrong": (
        "El código no es correcto, venció o ya se usó. Espere el siguiente.",
        "O código não está correto, expirou ou já foi usado. Aguarde o próximo.",
        "The code is wrong, has expired or was used already. Wait for the next one.",
    ),
    "error.address": (
        "«{api}» no es una dirección: debe empezar con http:// o https://.",
        "“{api}” não é um endereço: deve começar com http:// ou https://.",
        "“{api}” is not an address: it must begin with http:// or https://.",
    ),
    "error.disk": (
        "No se puede escribir en este equipo: {why}",
        "Não é possível gravar neste computador: {why}",
        "This machine can't be written to: {why}",
    ),
    "error.interrupted": (
        "Interrumpido. Repita el mismo comando para continuar donde quedó.",
        "Interrompido. Repita o mesmo comando para continuar de onde parou.",
        "Interrupted. Run the same command again to go on from here.",
    ),
    # signing in
    "login.email": ("Correo", "E-mail", "E-mail"),
    "login.password": ("Contraseña", "Senha", "Password"),
    "login.code": (
        "Código de la aplicación, o de recuperación",
        "Código do aplicativo, ou de recuperação",
        "Code from the app, or a recovery code",
    ),
    "login.done": (
        "Sesión iniciada: {name}, {tenant}",
        "Sessão iniciada: {name}, {tenant}",
        "Signed in: {name}, {tenant}",
    ),
    "logout.done": (
        "Sesión cerrada en este equipo.",
        "Sessão encerrada neste computador.",
        "Signed out here.",
    ),
    "logout.none": ("No había sesión iniciada.", "Não havia sessão iniciada.", "You were not signed in."),
    # pushing
    "push.to": ("Enviando a {project}", "Enviando para {project}", "Sending to {project}"),
    "push.nothing": (
        "No hay archivos que enviar.",
        "Não há arquivos para enviar.",
        "There are no files to send.",
    ),
    "push.total": ("Total", "Total", "Total"),
    "push.files": ("{done} de {all} archivos", "{done} de {all} arquivos", "{done} of {all} files"),
    "push.checking": ("{n} en revisión", "{n} em verificação", "{n} being checked"),
    "table.file": ("Archivo", "Arquivo", "File"),
    "table.size": ("Tamaño", "Tamanho", "Size"),
    "table.outcome": ("Resultado", "Resultado", "Outcome"),
    "table.reason": ("Motivo", "Motivo", "Reason"),
    "table.more": (
        "Además, {n} archivos llegaron bien y no se muestran.",
        "Além disso, {n} arquivos chegaram bem e não são mostrados.",
        "Another {n} files arrived safely and are not shown.",
    ),
    "sum.ready": ("{n} listos", "{n} prontos", "{n} ready"),
    "sum.known": ("{n} ya estaban", "{n} já estavam lá", "{n} already there"),
    "sum.duplicate": ("{n} repetidos", "{n} repetidos", "{n} duplicates"),
    "sum.skipped": ("{n} omitidos", "{n} ignorados", "{n} skipped"),
    "sum.pending": ("{n} en revisión", "{n} em verificação", "{n} still being checked"),
    "sum.bad": ("{n} con problemas", "{n} com problemas", "{n} with problems"),
    # the manifest
    "manifest.today": ("de hoy", "de hoje", "of today"),
    "manifest.day": ("del {day}", "de {day}", "of {day}"),
    "manifest.nothing": (
        "Desde este equipo no se envió nada {when}.",
        "Nada {when} foi enviado deste computador.",
        "Nothing {when} was sent from this machine.",
    ),
    "manifest.photos": (
        "{safe} de {n} fotos {when} están a salvo",
        "{safe} de {n} fotos {when} estão a salvo",
        "{safe} of {n} photos {when} are safe",
    ),
    "manifest.files": (
        "{safe} de {n} archivos {when} están a salvo",
        "{safe} de {n} arquivos {when} estão a salvo",
        "{safe} of {n} files {when} are safe",
    ),
    "verdict.safe": ("a salvo", "a salvo", "safe"),
    "verdict.arriving": ("aún no llega completo", "ainda não chegou completo", "has not arrived in full yet"),
    "verdict.processing": ("llegó, en revisión", "chegou, em verificação", "arrived, being checked"),
    "verdict.missing": ("no está en el servidor", "não está no servidor", "not on the server"),
    "verdict.different": ("llegó distinto", "chegou diferente", "arrived altered"),
    "verdict.refused": ("el servidor lo rechazó", "o servidor o recusou", "the server refused it"),
    # watching
    "watch.live": ("en vivo", "ao vivo", "live"),
    "watch.cut": ("sin conexión, reintentando", "sem conexão, tentando de novo", "cut off, trying again"),
    "watch.you": ("usted", "você", "you"),
    "watch.stop": ("Ctrl-C para salir", "Ctrl-C para sair", "Ctrl-C to leave"),
    "watch.document": ("documento nuevo", "documento novo", "new document"),
}
_ONE: dict[str, tuple[str, str, str]] = {  # the same for exactly one
    "sum.ready": ("1 listo", "1 pronto", "1 ready"),
    "sum.known": ("1 ya estaba", "1 já estava lá", "1 already there"),
    "sum.duplicate": ("1 repetido", "1 repetido", "1 duplicate"),
    "sum.skipped": ("1 omitido", "1 ignorado", "1 skipped"),
    "sum.bad": ("1 con problemas", "1 com problemas", "1 with problems"),
    "manifest.photos": (
        "{safe} de 1 foto {when} está a salvo",
        "{safe} de 1 foto {when} está a salvo",
        "{safe} of 1 photo {when} is safe",
    ),
    "manifest.files": (
        "{safe} de 1 archivo {when} está a salvo",
        "{safe} de 1 arquivo {when} está a salvo",
        "{safe} of 1 file {when} is safe",
    ),
    "table.more": (
        "Además, 1 archivo llegó bien y no se muestra.",
        "Além disso, 1 arquivo chegou bem e não é mostrado.",
        "Another file arrived safely and is not shown.",
    ),
}
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def language(wanted: str | None = None, env: Mapping[str, str] = os.environ) -> str:
    """`es`, `pt` or `en`: the one wanted, else the locale's, else Spanish."""
    places = (wanted, env.get("LC_ALL"), env.get("LC_MESSAGES"), env.get("LANG"))
    first = next((place for place in places if place), "")
    return first[:2].lower() if first[:2].lower() in LANGUAGES else "es"


def text(lang: str, key: str, **values: object) -> str:
    """The message `key` in a language, with `values` filled in; an `n` of 1 takes the singular."""
    variants = _ONE.get(key) if values.get("n") == 1 else None
    return (variants or _CATALOGUE[key])[LANGUAGES.index(lang)].format(**values)


def state(lang: str, name: str) -> str:
    """A state or an outcome in words; one that is new to this client as it is."""
    key = f"state.{name}"
    return text(lang, key) if key in _CATALOGUE else name


def verdict(lang: str, name: str) -> str:
    """A manifest's verdict in words; one that is new to this client as it is."""
    key = f"verdict.{name}"
    return text(lang, key) if key in _CATALOGUE else name


def explain(lang: str, error: ClientError, api: str = "") -> str:
    """An error as a sentence for people. What the server says is in their language already."""
    if isinstance(error, ApiError):
        key = f"error.{error.code}"
        if key in _CATALOGUE:
            return text(lang, key, api=api)
        return error.detail or error.title
    key = "error.network" if isinstance(error, NetworkError) else "error.storage"
    return text(lang, key, why=error)


def size(lang: str, count: int) -> str:
    """Bytes for people, in decimal units; Brazil writes a decimal comma, CLDR's es-419 a point."""
    unit, divisor = _unit(count)
    return f"{_number(lang, count / divisor, unit)} {unit}"


def progress(lang: str, done: int, total: int) -> str:
    """`1.2 / 4.1 MB`: both in the unit of the total."""
    unit, divisor = _unit(total)
    return f"{_number(lang, done / divisor, unit)} / {_number(lang, total / divisor, unit)} {unit}"


def _unit(count: int) -> tuple[str, int]:
    for power, unit in enumerate(("B", "kB", "MB")):
        if count < 999.5 * 1000**power:
            return unit, 1000**power
    return "GB", 1000**3


def _number(lang: str, number: float, unit: str) -> str:
    shown = f"{number:.0f}" if unit == "B" or number >= 99.95 else f"{number:.1f}"
    return shown.replace(".", ",") if lang == "pt" else shown


def shown(name: str) -> str:
    """A name as it may go to a terminal: what could move the cursor or turn the text around is spelt out."""
    return "".join(_spelt(c) if _unsafe(c) else c for c in name)


def _unsafe(char: str) -> bool:
    return char in _BIDI or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def _spelt(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that the file system's encoding doesn't know
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"

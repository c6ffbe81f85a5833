"""What people read, in Spanish, Portuguese and English: one catalogue of reasons, by code."""

LANGUAGES = ("es", "pt", "en")

REASONS: dict[str, dict[str, str]] = {
    "infected": {
        "es": "Se encontró un virus; el archivo quedó bloqueado y nadie puede abrirlo.",
        "pt": "Foi encontrado um vírus; o arquivo foi bloqueado e ninguém pode abri-lo.",
        "en": "A virus was found; the file is locked away and nobody can open it.",
    },
    "unscannable": {
        "es": "No se pudo revisar el archivo en busca de virus, así que queda bloqueado.",
        "pt": "Não foi possível verificar se o arquivo tem vírus, por isso ele fica bloqueado.",
        "en": "The file could not be checked for viruses, so it stays locked.",
    },
    "too_large_to_scan": {
        "es": "El archivo es demasiado grande para revisarlo en busca de virus, así que queda bloqueado.",
        "pt": "O arquivo é grande demais para a verificação de vírus, por isso fica bloqueado.",
        "en": "The file is too large to be checked for viruses, so it stays locked.",
    },
    "scan_timeout": {
        "es": "La revisión en busca de virus tardó demasiado, así que el archivo queda bloqueado.",
        "pt": "A verificação de vírus demorou demais, por isso o arquivo fica bloqueado.",
        "en": "Checking for viruses took too long, so the file stays locked.",
    },
    "scan_limits_exceeded": {
        "es": "El archivo contiene demasiado para revisarlo en busca de virus, así que queda bloqueado.",
        "pt": "O arquivo contém coisas demais para a verificação de vírus, por isso fica bloqueado.",
        "en": "The file holds too much to be checked for viruses, so it stays locked.",
    },
    "scan_failed": {
        "es": "El antivirus no pudo leer el archivo, así que queda bloqueado.",
        "pt": "O antivírus não conseguiu ler o arquivo, por isso ele fica bloqueado.",
        "en": "The virus scanner could not read the file, so it stays locked.",
    },
    "hash_differs": {
        "es": "Lo que llegó no es lo que se envió. Vuelva a subir el archivo.",
        "pt": "O que chegou não é o que foi enviado. Envie o arquivo de novo.",
        "en": "What arrived is not what was sent. Upload the file again.",
    },
    "processing_failed": {
        "es": "El archivo llegó, pero no pudimos procesarlo. Ya estamos avisados.",
        "pt": "O arquivo chegou, mas não conseguimos processá-lo. Já fomos avisados.",
        "en": "The file arrived, but we could not process it. We have been told.",
    },
    "never_arrived": {
        "es": "El archivo nunca terminó de llegar.",
        "pt": "O arquivo nunca terminou de chegar.",
        "en": "The file never arrived.",
    },
    "cancelled_by_sender": {
        "es": "Quien lo subía canceló el envío.",
        "pt": "Quem enviava cancelou o envio.",
        "en": "The sender cancelled it.",
    },
    "image_damaged": {
        "es": "La imagen está dañada; se guardó el original, sin vista previa.",
        "pt": "A imagem está danificada; o original foi guardado, sem prévia.",
        "en": "The image is damaged; the original is kept, without a preview.",
    },
    "image_too_large": {
        "es": "La imagen es demasiado grande para mostrar una vista previa; se guardó el original.",
        "pt": "A imagem é grande demais para gerar uma prévia; o original foi guardado.",
        "en": "The image is too large for a preview; the original is kept.",
    },
    "no_preview_for_type": {
        "es": "Este tipo de archivo no tiene vista previa.",
        "pt": "Este tipo de arquivo não tem prévia.",
        "en": "This type of file has no preview.",
    },
    "parser_crashed": {
        "es": "El archivo no se pudo leer; se guardó el original, sin vista previa.",
        "pt": "Não foi possível ler o arquivo; o original foi guardado, sem prévia.",
        "en": "The file could not be read; the original is kept, without a preview.",
    },
    "parser_timeout": {
        "es": "El archivo tardó demasiado en leerse; se guardó el original, sin vista previa.",
        "pt": "A leitura do arquivo demorou demais; o original foi guardado, sem prévia.",
        "en": "The file took too long to read; the original is kept, without a preview.",
    },
}


def reason_text(code: str, language: str) -> str | None:
    """The sentence for a reason, None for no reason; an unknown code is shown as it is rather than hidden."""
    if not code:
        return None
    texts = REASONS.get(code)
    return texts[language] if texts else code


def pick_language(accepted: str | None) -> str:
    """The first of our languages in an Accept-Language header, by the sender's order and q (RFC 9110 §12.5.4)."""
    wishes: list[tuple[float, str]] = []
    for item in (accepted or "").split(","):
        tag, _, rest = item.strip().partition(";")
        language = tag.lower().split("-")[0]
        if language in LANGUAGES:
            wishes.append((_quality(rest), language))
    best = max(wishes, key=lambda wish: wish[0], default=(1.0, "es"))
    return best[1] if best[0] > 0 else "es"


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0

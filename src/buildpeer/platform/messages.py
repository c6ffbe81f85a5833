"""What people read, in Spanish, Portuguese and English: one catalogue of problems and reasons, by code."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

LANGUAGES = ("es", "pt", "en")

PROBLEMS: dict[str, dict[str, str]] = {
    "bad_request": {
        "es": "No se entiende la solicitud.",
        "pt": "Não foi possível entender a solicitação.",
        "en": "The request can't be read.",
    },
    "bad_credentials": {
        "es": "El correo o la contraseña no son correctos.",
        "pt": "O e-mail ou a senha não estão corretos.",
        "en": "E-mail or password is wrong.",
    },
    "not_signed_in": {
        "es": "Inicie sesión primero.",
        "pt": "Entre na sua conta primeiro.",
        "en": "Sign in first.",
    },
    "token_expired": {
        "es": "El permiso de acceso venció; hay que renovarlo.",
        "pt": "O acesso expirou; é preciso renová-lo.",
        "en": "The access token has expired; renew it.",
    },
    "session_ended": {
        "es": "La sesión terminó; inicie sesión otra vez.",
        "pt": "A sessão terminou; entre de novo.",
        "en": "The session has ended; sign in again.",
    },
    "not_allowed": {
        "es": "Usted puede verlo, pero no cambiarlo.",
        "pt": "Você pode ver, mas não alterar.",
        "en": "You may see this, but not change it.",
    },
    "project_archived": {
        "es": "La obra está archivada: se puede consultar, pero no modificar.",
        "pt": "A obra está arquivada: pode ser consultada, mas não alterada.",
        "en": "The project is archived: it can be read, but not changed.",
    },
    "id_taken": {
        "es": "Este identificador ya pertenece a otra cosa.",
        "pt": "Este identificador já pertence a outra coisa.",
        "en": "This id already belongs to something else.",
    },
    "name_taken": {
        "es": "Aquí ya hay otro con ese nombre.",
        "pt": "Já existe outro com esse nome aqui.",
        "en": "Something else here already has that name.",
    },
    "location_cycle": {
        "es": "Un lugar no puede quedar dentro de sí mismo.",
        "pt": "Um local não pode ficar dentro de si mesmo.",
        "en": "A place can't lie in itself.",
    },
    "location_too_deep": {
        "es": "Los lugares admiten diez niveles como máximo.",
        "pt": "Os locais admitem no máximo dez níveis.",
        "en": "Places lie at most ten levels deep.",
    },
    "archive_too_large": {
        "es": "Es demasiado para un solo archivo ZIP: caben {most} documentos y {most_gb} GB.",
        "pt": "É demais para um único arquivo ZIP: cabem {most} documentos e {most_gb} GB.",
        "en": "That is too much for one ZIP file: it holds {most} documents and {most_gb} GB.",
    },
    "folder_cycle": {
        "es": "Una carpeta no puede quedar dentro de sí misma.",
        "pt": "Uma pasta não pode ficar dentro de si mesma.",
        "en": "A folder can't lie in itself.",
    },
    "folder_not_empty": {
        "es": "La carpeta no está vacía; mueva antes lo que contiene, también lo archivado.",
        "pt": "A pasta não está vazia; mova antes o que ela contém, inclusive o que foi arquivado.",
        "en": "The folder isn't empty; move what lies in it first, also what is archived.",
    },
    "folder_too_deep": {
        "es": "Las carpetas admiten veinte niveles como máximo.",
        "pt": "As pastas admitem no máximo vinte níveis.",
        "en": "Folders lie at most twenty levels deep.",
    },
    "changed_meanwhile": {
        "es": "Alguien lo modificó mientras tanto; vuelva a abrirlo para ver los cambios.",
        "pt": "Alguém alterou isto enquanto isso; abra de novo para ver as alterações.",
        "en": "Somebody changed it meanwhile; open it again to see the changes.",
    },
    "if_match_needed": {
        "es": "Falta indicar qué versión se quiere modificar (If-Match).",
        "pt": "Falta indicar qual versão deve ser alterada (If-Match).",
        "en": "Say which version you want to change (If-Match).",
    },
    "reference_unknown": {
        "es": "No existe en esta obra lo que se indica en {field}.",
        "pt": "Não existe nesta obra o que foi indicado em {field}.",
        "en": "This project doesn't have what {field} names.",
    },
    "webhook_url_refused": {
        "es": "La dirección debe empezar con https:// y llevar a un servidor público de internet.",
        "pt": "O endereço deve começar com https:// e levar a um servidor público da internet.",
        "en": "The address must begin with https:// and lead to a public server on the internet.",
    },
    "webhook_disabled": {
        "es": "Este destino está desactivado; actívelo primero.",
        "pt": "Este destino está desativado; ative-o primeiro.",
        "en": "This endpoint is disabled; enable it first.",
    },
    "too_many_webhooks": {
        "es": "Su empresa ya tiene {limit} destinos de webhooks, que es el máximo.",
        "pt": "Sua empresa já tem {limit} destinos de webhooks, que é o máximo.",
        "en": "Your company already has {limit} webhook endpoints, which is the most there can be.",
    },
    "not_found": {
        "es": "No existe, o no está entre lo que usted puede ver.",
        "pt": "Não existe, ou não está entre o que você pode ver.",
        "en": "There is no such thing, or it is not yours to see.",
    },
    "method_not_allowed": {
        "es": "Esta dirección no acepta esa operación.",
        "pt": "Este endereço não aceita essa operação.",
        "en": "This address does not take that method.",
    },
    "code_needed": {
        "es": "Escriba el código de su aplicación de autenticación, o un código de recuperación.",
        "pt": "Digite o código do seu aplicativo autenticador ou um código de recuperação.",
        "en": "Enter the code from your authenticator app, or a recovery code.",
    },
    "code_wrong": {
        "es": "El código no es correcto, venció o ya se usó. Espere el siguiente.",
        "pt": "O código não está correto, expirou ou já foi usado. Aguarde o próximo.",
        "en": "The code is wrong, has expired or was used already. Wait for the next one.",
    },
    "totp_on": {
        "es": "La verificación en dos pasos ya está activada.",
        "pt": "A verificação em duas etapas já está ativada.",
        "en": "Two-step sign-in is on already.",
    },
    "account_shared": {
        "es": "La cuenta también es de otra empresa: solo la propia persona puede desactivar la verificación.",
        "pt": "A conta também é de outra empresa: só a própria pessoa pode desativar a verificação.",
        "en": "The account belongs to another company, too: only the person can switch two-step sign-in off.",
    },
    "pin_wrong": {
        "es": "El PIN no es correcto.",
        "pt": "O PIN não está correto.",
        "en": "The PIN is wrong.",
    },
    "device_locked": {
        "es": "Este teléfono está bloqueado. Pida a su jefe de obra que lo autorice.",
        "pt": "Este celular está bloqueado. Peça ao seu gestor que o autorize.",
        "en": "This device is locked. Ask a manager to approve it.",
    },
    "report_published": {
        "es": "El informe ya está publicado y no se modifica; corríjalo con una nueva edición.",
        "pt": "O relatório já foi publicado e não muda; corrija-o com uma nova edição.",
        "en": "The report is published and does not change; correct it by a new edition.",
    },
    "report_not_published": {
        "es": "Ese informe es todavía un borrador; modifíquelo en lugar de corregirlo.",
        "pt": "Esse relatório ainda é um rascunho; edite-o em vez de corrigi-lo.",
        "en": "That report is still a draft; edit it instead of correcting it.",
    },
    "report_corrected": {
        "es": "Ya hay una edición que corrige ese informe; corrija la última.",
        "pt": "Já existe uma edição que corrige esse relatório; corrija a última.",
        "en": "There is an edition already that corrects that report; correct the last one.",
    },
    "log_open": {
        "es": "El parte diario todavía está abierto; ciérrelo primero.",
        "pt": "O diário de obra ainda está aberto; conclua-o primeiro.",
        "en": "The daily log is still open; complete it first.",
    },
    "log_closed": {
        "es": "El parte diario ya está cerrado; reábralo para cambiarlo.",
        "pt": "O diário de obra já está concluído; reabra-o para alterá-lo.",
        "en": "The daily log is completed; reopen it to change it.",
    },
    "conflict_resolved": {
        "es": "Alguien ya decidió otra cosa.",
        "pt": "Alguém já decidiu de outra forma.",
        "en": "Somebody has decided otherwise already.",
    },
    "bitacora_not_open": {
        "es": "La bitácora aún no está abierta: hacen falta residente y superintendente, y la nota de apertura.",
        "pt": "O livro de obra ainda não está aberto: faltam o residente, o superintendente ou a nota de abertura.",
        "en": "The bitácora is not open yet: it takes a residente, a superintendente and the opening note.",
    },
    "bitacora_closed": {
        "es": "La bitácora está cerrada; ya no admite notas.",
        "pt": "O livro de obra está encerrado; não admite mais notas.",
        "en": "The bitácora is closed; it takes no more notes.",
    },
    "bitacora_unsigned": {
        "es": "Faltan firmas en estas notas: {folios}.",
        "pt": "Faltam assinaturas nestas notas: {folios}.",
        "en": "These notes wait for signatures: {folios}.",
    },
    "note_changed": {
        "es": "La firma no corresponde a esta nota: léala otra vez antes de firmar.",
        "pt": "A assinatura não corresponde a esta nota: leia-a de novo antes de assinar.",
        "en": "The signature is not for this note: read it again before you sign.",
    },
    "party_taken": {
        "es": "Esa persona ya es {role} en esta bitácora.",
        "pt": "Essa pessoa já é {role} neste livro de obra.",
        "en": "That person is the {role} of this bitácora already.",
    },
    "not_a_party": {
        "es": "Solo quienes son parte de la bitácora pueden escribir y firmar notas.",
        "pt": "Só quem é parte do livro de obra pode escrever e assinar notas.",
        "en": "Only the parties of the bitácora issue and sign notes.",
    },
    "log_date_invalid": {
        "es": "Esa fecha no vale: hoy es {today} en la obra ({timezone}). Revise el reloj del teléfono.",
        "pt": "Essa data não é válida: hoje é {today} na obra ({timezone}). Verifique o relógio do celular.",
        "en": "That date can't be: today is {today} at the site ({timezone}). Check the phone's clock.",
    },
    "link_expired": {
        "es": "El enlace venció o ya se usó. Pida uno nuevo.",
        "pt": "O link expirou ou já foi usado. Peça um novo.",
        "en": "The link has expired or was used already. Ask for a new one.",
    },
    "password_weak": {
        "es": "La contraseña debe tener al menos {least} caracteres.",
        "pt": "A senha precisa ter pelo menos {least} caracteres.",
        "en": "A password has at least {least} characters.",
    },
    "too_many_tries": {
        "es": "Demasiados intentos. Espere {retry_after_s} segundos.",
        "pt": "Tentativas demais. Aguarde {retry_after_s} segundos.",
        "en": "Too many tries. Wait {retry_after_s} seconds.",
    },
    "tenant_suspended": {
        "es": "La cuenta de su empresa está suspendida: puede ver y descargar todo, pero no cambiar nada.",
        "pt": "A conta da sua empresa está suspensa: você pode ver e baixar tudo, mas não alterar nada.",
        "en": "Your company's account is suspended: you can see and download everything, but change nothing.",
    },
    "too_many_requests": {
        "es": "Demasiadas solicitudes. Espere {retry_after_s} segundos.",
        "pt": "Solicitações demais. Aguarde {retry_after_s} segundos.",
        "en": "Too many requests. Wait {retry_after_s} seconds.",
    },
    "too_many_uploads_today": {
        "es": "Su empresa ya envió hoy todos los archivos que permite su plan. Vuelva a intentarlo mañana.",
        "pt": "Sua empresa já enviou hoje todos os arquivos que o plano permite. Tente de novo amanhã.",
        "en": "Your company has sent as many files today as its plan allows. Try again tomorrow.",
    },
    "last_owner": {
        "es": "La empresa necesita al menos un propietario. Nombre primero a otro.",
        "pt": "A empresa precisa de pelo menos um proprietário. Nomeie outro primeiro.",
        "en": "A company needs at least one owner. Make somebody else an owner first.",
    },
    "code_taken": {
        "es": "Otro proyecto ya tiene este código.",
        "pt": "Outro projeto já tem este código.",
        "en": "Another project has this code already.",
    },
    "drawing_taken": {
        "es": "Ya hay otro plano con el número {number} en esta área.",
        "pt": "Já existe outra prancha com o número {number} nesta área.",
        "en": "Another drawing of this area has the number {number}.",
    },
    "revision_filed": {
        "es": "El plano ya tiene esa revisión, con el mismo juego y las mismas fechas. Páginas: {pages}. "
        "Corrija la revisión o la fecha, u omita esas páginas.",
        "pt": "A prancha já tem essa revisão, com o mesmo jogo e as mesmas datas. Páginas: {pages}. "
        "Corrija a revisão ou a data, ou pule essas páginas.",
        "en": "The drawing already has that revision, of the same set and dates. Pages: {pages}. "
        "Correct the revision or the date, or skip these pages.",
    },
    "sheet_published": {
        "es": "Ya se publicaron estas páginas: {pages}.",
        "pt": "Estas páginas já foram publicadas: {pages}.",
        "en": "These pages are published already: {pages}.",
    },
    "sheets_unreviewed": {
        "es": "Faltan páginas por revisar, o se omitieron: {pages}.",
        "pt": "Há páginas por revisar, ou que foram puladas: {pages}.",
        "en": "These pages are not reviewed yet, or are skipped: {pages}.",
    },
    "document_filed": {
        "es": "De este documento salieron planos publicados; por eso no se puede borrar.",
        "pt": "Deste documento saíram pranchas publicadas; por isso não pode ser apagado.",
        "en": "Published drawings are made of this document, so it can't be erased.",
    },
    "upload_conflict": {
        "es": "Ese identificador ya es de otra carga.",
        "pt": "Esse identificador já pertence a outro envio.",
        "en": "That id belongs to another upload.",
    },
    "upload_closed": {
        "es": "Esta carga ya no recibe datos.",
        "pt": "Este envio não recebe mais dados.",
        "en": "This upload takes no more bytes.",
    },
    "upload_incomplete": {
        "es": "Todavía faltan partes del archivo.",
        "pt": "Ainda faltam partes do arquivo.",
        "en": "Some parts of the file have not arrived.",
    },
    "rfi_state": {
        "es": "La RFI está en un estado ({state}) que no lo permite.",
        "pt": "A RFI está em um estado ({state}) que não permite isso.",
        "en": "The RFI is in a state ({state}) that does not allow this.",
    },
    "rfi_manager_missing": {
        "es": "La RFI no tiene responsable. Elija uno, o pida que se defina uno para el proyecto.",
        "pt": "A RFI não tem responsável. Escolha um ou peça que seja definido um para o projeto.",
        "en": "The RFI has no manager. Choose one, or ask for one to be set for the project.",
    },
    "body_too_large": {
        "es": "La solicitud es demasiado grande.",
        "pt": "A solicitação é grande demais.",
        "en": "The request is too large.",
    },
    "unsupported_media_type": {
        "es": "La solicitud debe venir en JSON.",
        "pt": "A solicitação deve vir em JSON.",
        "en": "The request must be JSON.",
    },
    "invalid": {
        "es": "Un dato no tiene la forma que debería.",
        "pt": "Um dado não tem a forma que deveria.",
        "en": "A field does not hold what it should.",
    },
    "batch_too_large": {
        "es": "Son {count} archivos; por llamada caben {limit}.",
        "pt": "São {count} arquivos; cabem {limit} por chamada.",
        "en": "There are {count} files; a call takes {limit}.",
    },
    "batch_empty": {
        "es": "La llamada no trae ningún archivo.",
        "pt": "A chamada não traz nenhum arquivo.",
        "en": "The call holds no files.",
    },
    "file_empty": {
        "es": "El archivo está vacío.",
        "pt": "O arquivo está vazio.",
        "en": "The file is empty.",
    },
    "file_too_large": {
        "es": "El archivo pesa demasiado: el límite para este tipo es de {limit_mib} MiB.",
        "pt": "O arquivo é grande demais: o limite para este tipo é de {limit_mib} MiB.",
        "en": "The file is too large: the limit for this kind is {limit_mib} MiB.",
    },
    "quota_exceeded": {
        "es": "El almacenamiento de la empresa está lleno; este archivo ya no cabe.",
        "pt": "O armazenamento da empresa está cheio; este arquivo não cabe mais.",
        "en": "The company's storage is full; there is no room for this file.",
    },
    "name_invalid": {
        "es": "Un nombre tiene de 1 a 255 caracteres, sin barras ni caracteres de control.",
        "pt": "Um nome tem de 1 a 255 caracteres, sem barras nem caracteres de controle.",
        "en": "A name has 1 to 255 characters, with no slashes or control characters.",
    },
    "id_invalid": {
        "es": "El identificador no es un UUIDv7.",
        "pt": "O identificador não é um UUIDv7.",
        "en": "The id is not a UUIDv7.",
    },
    "too_many_jobs": {
        "es": "Ya hay demasiados trabajos en espera; deje que terminen algunos.",
        "pt": "Já há trabalhos demais na fila; espere alguns terminarem.",
        "en": "Too many jobs are waiting already; let some of them end first.",
    },
    "too_many_streams": {
        "es": "Hay demasiadas pantallas abiertas con esta cuenta; cierre alguna.",
        "pt": "Há telas demais abertas com esta conta; feche alguma.",
        "en": "Too many screens are open with this account; close some.",
    },
    "internal": {
        "es": "Algo falló de nuestro lado. Ya estamos avisados.",
        "pt": "Algo falhou do nosso lado. Já fomos avisados.",
        "en": "Something broke on our side. We have been told.",
    },
    "unavailable": {
        "es": "Una parte del servicio no responde; inténtelo de nuevo en un momento.",
        "pt": "Uma parte do serviço não responde; tente de novo daqui a pouco.",
        "en": "A part of the service is away; try again in a moment.",
    },
}

REASONS: dict[str, dict[str, str]] = {
    "job_broken": {
        "es": "El trabajo falló varias veces por un problema nuestro; ya quedó registrado. Inténtelo más tarde.",
        "pt": "O trabalho falhou várias vezes por um problema nosso, que já foi registrado. Tente mais tarde.",
        "en": "The job failed several times through a fault of ours, which has been noted. Try again later.",
    },
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
    "chunks_differ": {
        "es": "Los pedazos del archivo que llegaron no coinciden entre sí. Vuelva a subir el archivo.",
        "pt": "Os pedaços do arquivo que chegaram não batem uns com os outros. Envie o arquivo de novo.",
        "en": "The pieces of the file that arrived contradict each other. Upload the file again.",
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
    "sender_left": {
        "es": "Quien lo subía ya no puede enviar archivos a este proyecto.",
        "pt": "Quem enviava já não pode enviar arquivos para este projeto.",
        "en": "The sender may no longer send files to this project.",
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
    "pdf_damaged": {
        "es": "El PDF está dañado; se guardó el original, sin vista previa.",
        "pt": "O PDF está danificado; o original foi guardado, sem prévia.",
        "en": "The PDF is damaged; the original is kept, without a preview.",
    },
    "pdf_encrypted": {
        "es": "El PDF tiene contraseña; se guardó el original. Para ver una vista previa, súbalo sin ella.",
        "pt": "O PDF tem senha; o original foi guardado. Para ver uma prévia, envie-o sem ela.",
        "en": "The PDF has a password; the original is kept. For a preview, upload it without one.",
    },
    "drawing_damaged": {
        "es": "El dibujo está dañado; se guardó el original, sin vista previa.",
        "pt": "O desenho está danificado; o original foi guardado, sem prévia.",
        "en": "The drawing is damaged; the original is kept, without a preview.",
    },
    "drawing_empty": {
        "es": "El dibujo no contiene nada que se pueda mostrar; se guardó el original.",
        "pt": "O desenho não contém nada que se possa mostrar; o original foi guardado.",
        "en": "There is nothing to show in the drawing; the original is kept.",
    },
    "drawing_too_complex": {
        "es": "El dibujo tiene demasiados elementos para una vista previa; se guardó el original.",
        "pt": "O desenho tem elementos demais para gerar uma prévia; o original foi guardado.",
        "en": "The drawing has too many elements for a preview; the original is kept.",
    },
    "model_damaged": {
        "es": "Al modelo IFC le falta una parte; se guardó el original.",
        "pt": "Falta uma parte do modelo IFC; o original foi guardado.",
        "en": "A part of the IFC model is missing; the original is kept.",
    },
    "model_too_complex": {
        "es": "El modelo IFC es demasiado grande para leerlo aquí; se guardó el original.",
        "pt": "O modelo IFC é grande demais para ser lido aqui; o original foi guardado.",
        "en": "The IFC model is too large to be read here; the original is kept.",
    },
    "archive_damaged": {
        "es": "El archivo comprimido está dañado; se guardó el original.",
        "pt": "O arquivo compactado está danificado; o original foi guardado.",
        "en": "The archive is damaged; the original is kept.",
    },
    "office_damaged": {
        "es": "El documento de Office está dañado; se guardó el original.",
        "pt": "O documento do Office está danificado; o original foi guardado.",
        "en": "The Office document is damaged; the original is kept.",
    },
    "archive_encrypted": {
        "es": "El archivo comprimido tiene contraseña, así que no se puede revisar en busca de virus y queda "
        "bloqueado. Súbalo sin contraseña.",
        "pt": "O arquivo compactado tem senha, por isso não pode ser verificado quanto a vírus e fica bloqueado. "
        "Envie-o sem senha.",
        "en": "The archive has a password, so it can't be checked for viruses and stays locked. Upload it without one.",
    },
    "archive_too_large": {
        "es": "Lo que contiene el archivo comprimido es demasiado para revisarlo en busca de virus, así que queda "
        "bloqueado. Suba los archivos por separado.",
        "pt": "O arquivo compactado contém coisas demais para a verificação de vírus, por isso fica bloqueado. "
        "Envie os arquivos separadamente.",
        "en": "The archive holds too much to be checked for viruses, so it stays locked. Upload its files one by one.",
    },
    "archive_too_deep": {
        "es": "Hay demasiados archivos comprimidos unos dentro de otros, así que no se pueden revisar en busca de "
        "virus y quedan bloqueados.",
        "pt": "Há arquivos compactados demais uns dentro dos outros, por isso não podem ser verificados quanto a vírus "
        "e ficam bloqueados.",
        "en": "There are too many archives within each other to be checked for viruses, so they stay locked.",
    },
    "archive_unreadable": {
        "es": "El archivo comprimido está dañado, así que no se puede revisar en busca de virus y queda bloqueado.",
        "pt": "O arquivo compactado está danificado, por isso não pode ser verificado quanto a vírus e fica bloqueado.",
        "en": "The archive is damaged, so it can't be checked for viruses and stays locked.",
    },
    "archive_unsupported": {
        "es": "Solo los ZIP se pueden revisar en busca de virus; este archivo queda bloqueado. Súbalo como ZIP.",
        "pt": "Só arquivos ZIP podem ser verificados quanto a vírus; este fica bloqueado. Envie-o como ZIP.",
        "en": "Only ZIP archives can be checked for viruses; this one stays locked. Upload it as a ZIP.",
    },
    "no_preview_for_dwg": {
        "es": "Los DWG no tienen vista previa; se guardó el original. Para verlo aquí, suba también el PDF o el DXF.",
        "pt": "Arquivos DWG não têm prévia; o original foi guardado. Para vê-lo aqui, envie também o PDF ou o DXF.",
        "en": "DWG files have no preview; the original is kept. To see it here, upload its PDF or DXF as well.",
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

ACTIONS: dict[str, dict[str, str]] = {
    "insert": {"es": "Creó", "pt": "Criou", "en": "Created"},
    "update": {"es": "Modificó", "pt": "Alterou", "en": "Changed"},
    "delete": {"es": "Eliminó", "pt": "Excluiu", "en": "Deleted"},
    "log_reopened": {"es": "Reabrió un parte diario", "pt": "Reabriu um diário de obra", "en": "Reopened a daily log"},
    "sign_in": {"es": "Inició sesión", "pt": "Entrou", "en": "Signed in"},
    "sign_in_failed": {
        "es": "Intento fallido de iniciar sesión",
        "pt": "Tentativa de entrar sem sucesso",
        "en": "Failed to sign in",
    },
    "sign_out": {"es": "Cerró sesión", "pt": "Saiu", "en": "Signed out"},
    "session_revoked": {
        "es": "Cerró la sesión de un dispositivo",
        "pt": "Encerrou a sessão de um dispositivo",
        "en": "Signed a device out",
    },
    "tenant_entered": {"es": "Entró en la empresa", "pt": "Entrou na empresa", "en": "Entered the company"},
    "password_changed": {"es": "Cambió su contraseña", "pt": "Mudou sua senha", "en": "Changed the password"},
    "password_reset": {
        "es": "Eligió una contraseña nueva por un enlace de correo",
        "pt": "Escolheu uma nova senha por um link de e-mail",
        "en": "Set a new password by a mailed link",
    },
    "confirmation_failed": {
        "es": "Escribió una contraseña equivocada para confirmar un cambio de su cuenta",
        "pt": "Digitou uma senha errada para confirmar uma mudança na sua conta",
        "en": "Gave a wrong password to confirm a change of the account",
    },
    "code_refused": {
        "es": "Escribió un código equivocado después de la contraseña correcta",
        "pt": "Digitou um código errado depois da senha correta",
        "en": "Gave a wrong code after the right password",
    },
    "recovery_code_used": {
        "es": "Usó un código de recuperación",
        "pt": "Usou um código de recuperação",
        "en": "Used a recovery code",
    },
    "recovery_codes_made": {
        "es": "Generó códigos de recuperación nuevos",
        "pt": "Gerou novos códigos de recuperação",
        "en": "Made new recovery codes",
    },
    "totp_on": {
        "es": "Activó la verificación en dos pasos",
        "pt": "Ativou a verificação em duas etapas",
        "en": "Switched two-step sign-in on",
    },
    "totp_off": {
        "es": "Desactivó la verificación en dos pasos",
        "pt": "Desativou a verificação em duas etapas",
        "en": "Switched two-step sign-in off",
    },
    "totp_reset": {
        "es": "Desactivó la verificación en dos pasos de otra persona",
        "pt": "Desativou a verificação em duas etapas de outra pessoa",
        "en": "Switched somebody else's two-step sign-in off",
    },
    "joined": {"es": "Se unió a la empresa", "pt": "Entrou para a empresa", "en": "Joined the company"},
    "device_joined": {"es": "Registró un teléfono", "pt": "Registrou um celular", "en": "Registered a device"},
    "device_approved": {"es": "Autorizó un teléfono", "pt": "Autorizou um celular", "en": "Approved a device"},
    "device_revoked": {
        "es": "Revocó el acceso de un teléfono",
        "pt": "Revogou o acesso de um celular",
        "en": "Revoked a device",
    },
    "session_reused": {
        "es": "La sesión se cerró porque alguien volvió a usar una credencial antigua",
        "pt": "A sessão foi encerrada porque alguém reutilizou uma credencial antiga",
        "en": "The session was ended because somebody used an old token again",
    },
    "download": {"es": "Descargó", "pt": "Baixou", "en": "Downloaded"},
    "export": {"es": "Exportó", "pt": "Exportou", "en": "Exported"},
}


def action_text(action: str, language: str) -> str:
    """What somebody did, in the audit trail; an unknown action is shown as it is rather than hidden."""
    texts = ACTIONS.get(action)
    return texts[language] if texts else action


# Plain text with blank lines between paragraphs; the HTML is made of the same words.
# What happened, in one line: of one thing, and of `{count}` of them. A fact that an event leaves out is a dash.
NOTICES: dict[str, dict[str, tuple[str, str]]] = {
    "documents.added": {
        "es": ("Archivo nuevo: {name}", "{count} archivos nuevos"),
        "pt": ("Novo arquivo: {name}", "{count} arquivos novos"),
        "en": ("New file: {name}", "{count} new files"),
    },
    "documents.erased": {
        "es": ("Se eliminó un archivo: {name}", "Se eliminaron {count} archivos"),
        "pt": ("Um arquivo foi excluído: {name}", "{count} arquivos foram excluídos"),
        "en": ("A file was erased: {name}", "{count} files were erased"),
    },
    "documents.withdrawn": {
        "es": ("Se bloqueó un archivo por seguridad: {name}", "Se bloquearon {count} archivos por seguridad"),
        "pt": ("Um arquivo foi bloqueado por segurança: {name}", "{count} arquivos foram bloqueados por segurança"),
        "en": ("A file was locked for safety: {name}", "{count} files were locked for safety"),
    },
    "documents.returned": {
        "es": (
            "Un archivo bloqueado vuelve a estar disponible: {name}",
            "{count} archivos vuelven a estar disponibles",
        ),
        "pt": (
            "Um arquivo bloqueado voltou a ficar disponível: {name}",
            "{count} arquivos voltaram a ficar disponíveis",
        ),
        "en": ("A locked file is available again: {name}", "{count} files are available again"),
    },
    "upload.blocked": {
        "es": ("Su archivo {name} no se pudo aceptar", "{count} de sus archivos no se pudieron aceptar"),
        "pt": ("Seu arquivo {name} não pôde ser aceito", "{count} dos seus arquivos não puderam ser aceitos"),
        "en": ("Your file {name} could not be accepted", "{count} of your files could not be accepted"),
    },
    "job.ended": {
        "es": ("Terminó un trabajo que usted pidió", "Terminaron {count} trabajos que usted pidió"),
        "pt": ("Terminou uma tarefa que você pediu", "Terminaram {count} tarefas que você pediu"),
        "en": ("A job that you ordered has ended", "{count} jobs that you ordered have ended"),
    },
    "drawings.published": {
        "es": ("Se publicaron planos", "Se publicaron planos {count} veces"),
        "pt": ("Novas pranchas foram publicadas", "Pranchas foram publicadas {count} vezes"),
        "en": ("Drawings were published", "Drawings were published {count} times"),
    },
    "rfi.changed": {
        "es": ("Hay novedades en la RFI {number}", "Hay novedades en {count} RFI"),
        "pt": ("Há novidades na RFI {number}", "Há novidades em {count} RFIs"),
        "en": ("RFI {number} has changed", "{count} RFIs have changed"),
    },
    "rfi.reminded": {
        "es": ("La RFI {number} espera su respuesta (vence: {due_date})", "{count} RFI esperan su respuesta"),
        "pt": ("A RFI {number} aguarda sua resposta (prazo: {due_date})", "{count} RFIs aguardam sua resposta"),
        "en": ("RFI {number} waits for you (due: {due_date})", "{count} RFIs wait for you"),
    },
    "daily_log.completed": {
        "es": ("Se completó el parte diario del {log_date}", "Se completaron {count} partes diarios"),
        "pt": ("O diário de obra de {log_date} foi concluído", "{count} diários de obra foram concluídos"),
        "en": ("The daily log of {log_date} is complete", "{count} daily logs are complete"),
    },
    "daily_log.reopened": {
        "es": ("Se reabrió el parte diario del {log_date}", "Se reabrieron {count} partes diarios"),
        "pt": ("O diário de obra de {log_date} foi reaberto", "{count} diários de obra foram reabertos"),
        "en": ("The daily log of {log_date} was reopened", "{count} daily logs were reopened"),
    },
    "daily_log.distributed": {
        "es": ("Recibió el parte diario del {log_date}", "Recibió {count} partes diarios"),
        "pt": ("Você recebeu o diário de obra de {log_date}", "Você recebeu {count} diários de obra"),
        "en": ("You were sent the daily log of {log_date}", "You were sent {count} daily logs"),
    },
    "bitacora.note_issued": {
        "es": ("Nota {folio} de la bitácora: requiere su atención", "{count} notas nuevas en la bitácora"),
        "pt": ("Nota {folio} do livro de obra: requer sua atenção", "{count} notas novas no livro de obra"),
        "en": ("Note {folio} of the site book needs your attention", "{count} new notes in the site book"),
    },
    "bitacora.note_signed": {
        "es": ("Se firmó la nota {folio} de la bitácora", "Se firmaron {count} notas de la bitácora"),
        "pt": ("A nota {folio} do livro de obra foi assinada", "{count} notas do livro de obra foram assinadas"),
        "en": ("Note {folio} of the site book was signed", "{count} notes of the site book were signed"),
    },
    "progress_report.published": {
        "es": ("Se publicó un informe de avance", "Se publicaron {count} informes de avance"),
        "pt": ("Um relatório de andamento foi publicado", "{count} relatórios de andamento foram publicados"),
        "en": ("A progress report was published", "{count} progress reports were published"),
    },
}
NO_PROJECT = {"es": "General", "pt": "Geral", "en": "General"}
MORE_NOTICES = {"es": "… y {count} más", "pt": "… e mais {count}", "en": "… and {count} more"}

MAILS: dict[str, dict[str, dict[str, str]]] = {
    "digest_of_one": {
        "es": {
            "subject": "{first} ({company})",
            "body": "{lines}\n\nVéalo en BuildPeer: {link}\n\n"
            "Usted elige qué avisos recibe por correo y cuándo, en sus preferencias.",
        },
        "pt": {
            "subject": "{first} ({company})",
            "body": "{lines}\n\nVeja no BuildPeer: {link}\n\n"
            "Você escolhe quais avisos recebe por e-mail e quando, nas suas preferências.",
        },
        "en": {
            "subject": "{first} ({company})",
            "body": "{lines}\n\nSee it in BuildPeer: {link}\n\n"
            "You choose in your preferences what you hear by e-mail, and when.",
        },
    },
    "digest": {
        "es": {
            "subject": "{count} novedades en {company}",
            "body": "Esto pasó en sus obras:\n\n{lines}\n\nVéalo en BuildPeer: {link}\n\n"
            "Usted elige qué avisos recibe por correo y cuándo, en sus preferencias.",
        },
        "pt": {
            "subject": "{count} novidades em {company}",
            "body": "Veja o que aconteceu nas suas obras:\n\n{lines}\n\nVeja no BuildPeer: {link}\n\n"
            "Você escolhe quais avisos recebe por e-mail e quando, nas suas preferências.",
        },
        "en": {
            "subject": "{count} things happened at {company}",
            "body": "This happened in your projects:\n\n{lines}\n\nSee it in BuildPeer: {link}\n\n"
            "You choose in your preferences what you hear by e-mail, and when.",
        },
    },
    "webhook_failing": {
        "es": {
            "subject": "Dejamos de enviar avisos a uno de sus sistemas",
            "body": "Durante {days} días no pudimos entregar nada en esta dirección, así que la desactivamos:\n\n"
            "{url}\n\n"
            "Nada se ha perdido: cuando el sistema vuelva a responder, active el destino en BuildPeer y reenvíe "
            "lo que falta. Lo guardamos 30 días.",
        },
        "pt": {
            "subject": "Paramos de enviar avisos a um dos seus sistemas",
            "body": "Durante {days} dias não conseguimos entregar nada neste endereço, por isso o desativamos:\n\n"
            "{url}\n\n"
            "Nada se perdeu: quando o sistema voltar a responder, ative o destino no BuildPeer e reenvie "
            "o que faltou. Guardamos tudo por 30 dias.",
        },
        "en": {
            "subject": "We have stopped sending events to one of your systems",
            "body": "For {days} days nothing could be delivered to this address, so we have disabled it:\n\n{url}\n\n"
            "Nothing is lost: once the system answers again, enable the endpoint in BuildPeer and replay "
            "what it missed. We keep it for 30 days.",
        },
    },
    "webhook_gone": {
        "es": {
            "subject": "Dejamos de enviar avisos a uno de sus sistemas",
            "body": "Esta dirección respondió que ya no recibe avisos (410), así que la desactivamos:\n\n{url}\n\n"
            "Si fue un error, active el destino en BuildPeer y reenvíe lo que falta. Lo guardamos 30 días.",
        },
        "pt": {
            "subject": "Paramos de enviar avisos a um dos seus sistemas",
            "body": "Este endereço respondeu que não recebe mais avisos (410), por isso o desativamos:\n\n{url}\n\n"
            "Se foi um engano, ative o destino no BuildPeer e reenvie o que faltou. Guardamos tudo por 30 dias.",
        },
        "en": {
            "subject": "We have stopped sending events to one of your systems",
            "body": "This address answered that it takes no more events (410), so we have disabled it:\n\n{url}\n\n"
            "If that was a mistake, enable the endpoint in BuildPeer and replay what it missed. "
            "We keep it for 30 days.",
        },
    },
    "first_owner": {
        "es": {
            "subject": "{tenant} ya está en BuildPeer",
            "body": "Abrimos la cuenta de {tenant} en BuildPeer, y usted es su propietario.\n\n"
            "Elija su contraseña aquí, en los próximos {days} días: {link}\n\n"
            "Si no conoce a {tenant}, no haga nada.",
        },
        "pt": {
            "subject": "{tenant} já está no BuildPeer",
            "body": "Abrimos a conta de {tenant} no BuildPeer, e você é o proprietário.\n\n"
            "Escolha sua senha aqui, nos próximos {days} dias: {link}\n\n"
            "Se não conhece {tenant}, não faça nada.",
        },
        "en": {
            "subject": "{tenant} is on BuildPeer",
            "body": "We have opened the account of {tenant} on BuildPeer, and you are its owner.\n\n"
            "Choose your password here, within the next {days} days: {link}\n\n"
            "If you don't know {tenant}, do nothing.",
        },
    },
    "invitation": {
        "es": {
            "subject": "{inviter} le invita a {tenant} en BuildPeer",
            "body": "{inviter} le invita a trabajar en los proyectos de {tenant} en BuildPeer.\n\n"
            "Únase aquí, en los próximos {days} días: {link}\n\n"
            "Si no conoce a {tenant}, no haga nada.",
        },
        "pt": {
            "subject": "{inviter} convida você para {tenant} no BuildPeer",
            "body": "{inviter} convida você para trabalhar nos projetos de {tenant} no BuildPeer.\n\n"
            "Entre aqui, nos próximos {days} dias: {link}\n\n"
            "Se não conhece {tenant}, não faça nada.",
        },
        "en": {
            "subject": "{inviter} invites you to {tenant} on BuildPeer",
            "body": "{inviter} invites you to work on the projects of {tenant} on BuildPeer.\n\n"
            "Join here within {days} days: {link}\n\n"
            "If you don't know {tenant}, do nothing.",
        },
    },
    "password_reset": {
        "es": {
            "subject": "Su nueva contraseña de BuildPeer",
            "body": "Alguien, probablemente usted, pidió una contraseña nueva para BuildPeer.\n\n"
            "Elíjala aquí, en los próximos {minutes} minutos: {link}\n\n"
            "Si no fue usted, no haga nada: su contraseña sigue siendo la misma.",
        },
        "pt": {
            "subject": "Sua nova senha do BuildPeer",
            "body": "Alguém, provavelmente você, pediu uma nova senha para o BuildPeer.\n\n"
            "Escolha-a aqui, nos próximos {minutes} minutos: {link}\n\n"
            "Se não foi você, não faça nada: sua senha continua a mesma.",
        },
        "en": {
            "subject": "Your new BuildPeer password",
            "body": "Somebody, probably you, asked for a new BuildPeer password.\n\n"
            "Choose it here within {minutes} minutes: {link}\n\n"
            "If it wasn't you, do nothing: your password stays as it is.",
        },
    },
    "password_changed": {
        "es": {
            "subject": "Su contraseña de BuildPeer cambió",
            "body": "La contraseña de su cuenta de BuildPeer acaba de cambiar, y las demás sesiones se cerraron.\n\n"
            "Si no fue usted, pida una contraseña nueva en la página de inicio y avise a su empresa.",
        },
        "pt": {
            "subject": "Sua senha do BuildPeer mudou",
            "body": "A senha da sua conta do BuildPeer acaba de mudar, e as outras sessões foram encerradas.\n\n"
            "Se não foi você, peça uma nova senha na página de entrada e avise a sua empresa.",
        },
        "en": {
            "subject": "Your BuildPeer password has changed",
            "body": "Your BuildPeer password has just changed, and all other sessions have ended.\n\n"
            "If it wasn't you, ask for a new password on the sign-in page and tell your company.",
        },
    },
    "totp_on": {
        "es": {
            "subject": "Su cuenta de BuildPeer pide ahora dos pasos",
            "body": "La verificación en dos pasos de su cuenta de BuildPeer acaba de activarse. Desde ahora, además de "
            "la contraseña, se pide un código al iniciar sesión.\n\n"
            "Si no fue usted, pida una contraseña nueva en la página de inicio y avise a su empresa.",
        },
        "pt": {
            "subject": "Sua conta do BuildPeer agora pede duas etapas",
            "body": "A verificação em duas etapas da sua conta do BuildPeer acaba de ser ativada. De agora em diante, "
            "além da senha, será pedido um código ao entrar.\n\n"
            "Se não foi você, peça uma nova senha na página de entrada e avise a sua empresa.",
        },
        "en": {
            "subject": "Your BuildPeer account now asks for two steps",
            "body": "Two-step sign-in of your BuildPeer account has just been switched on. From now on, signing in "
            "takes a code besides the password.\n\n"
            "If it wasn't you, ask for a new password on the sign-in page and tell your company.",
        },
    },
    "totp_off": {
        "es": {
            "subject": "Su cuenta de BuildPeer ya no pide dos pasos",
            "body": "La verificación en dos pasos de su cuenta de BuildPeer acaba de desactivarse: para iniciar sesión "
            "basta la contraseña.\n\n"
            "Si no fue usted ni lo pidió a su empresa, cambie su contraseña y avise a su empresa.",
        },
        "pt": {
            "subject": "Sua conta do BuildPeer não pede mais duas etapas",
            "body": "A verificação em duas etapas da sua conta do BuildPeer acaba de ser desativada: para entrar, "
            "basta a senha.\n\n"
            "Se não foi você nem pediu isso à sua empresa, mude sua senha e avise a sua empresa.",
        },
        "en": {
            "subject": "Your BuildPeer account no longer asks for two steps",
            "body": "Two-step sign-in of your BuildPeer account has just been switched off: the password alone signs "
            "in.\n\n"
            "If it wasn't you, and you didn't ask your company for it, change your password and tell your company.",
        },
    },
}

# The log of RFIs, as PDF and as a table; states in their order.
RFI_LOG: dict[str, dict[str, str]] = {
    "es": {
        "title": "Registro de RFI",
        "states": "Borrador|Enviada|Abierta|Respondida|Cerrada|Rechazada|Anulada",
        "facts": "RFI en el registro|En espera de respuesta|Vencidas|Respondidas|Cerradas|Días hábiles hasta responder",
        "paper": "N.º|Asunto|Estado|Pendiente de|Vence|Enviada|Respondida|Días hábiles|Costo|Plazo",
        "columns": "N.º|Asunto|Pregunta|Respuesta oficial|Estado|Pendiente de|Creada por|Responsable de la RFI|"
        "Empresa responsable|Ubicación|Especialidad|Referencia|Vence|Enviada|Respondida|Cerrada|Días hábiles|"
        "Impacto en costo|Monto|Impacto en plazo|Días de plazo",
        "none": "Todavía no hay RFI con número en este proyecto.",
        "late": "Vencida",
        "yes": "Sí",
        "no": "No",
        "tbd": "Por definir",
        "days": "{days} d",
        "courts": "Tiempo en manos de cada persona",
        "court_columns": "Persona|Días calendario|Días hábiles",
    },
    "pt": {
        "title": "Registro de RFIs",
        "states": "Rascunho|Enviada|Aberta|Respondida|Encerrada|Rejeitada|Anulada",
        "facts": "RFIs no registro|Aguardando resposta|Vencidas|Respondidas|Encerradas|Dias úteis até a resposta",
        "paper": "N.º|Assunto|Situação|Pendente de|Vence|Enviada|Respondida|Dias úteis|Custo|Prazo",
        "columns": "N.º|Assunto|Pergunta|Resposta oficial|Situação|Pendente de|Criada por|Responsável pela RFI|"
        "Empresa responsável|Local|Disciplina|Referência|Vence|Enviada|Respondida|Encerrada|Dias úteis|"
        "Impacto no custo|Valor|Impacto no prazo|Dias de prazo",
        "none": "Ainda não há RFIs numeradas neste projeto.",
        "late": "Vencida",
        "yes": "Sim",
        "no": "Não",
        "tbd": "A definir",
        "days": "{days} d",
        "courts": "Tempo nas mãos de cada pessoa",
        "court_columns": "Pessoa|Dias corridos|Dias úteis",
    },
    "en": {
        "title": "RFI log",
        "states": "Draft|Submitted|Open|Answered|Closed|Rejected|Void",
        "facts": "RFIs in the log|Waiting for an answer|Overdue|Answered|Closed|Working days to an answer",
        "paper": "No.|Subject|Status|Ball in court|Due|Submitted|Answered|Working days|Cost|Schedule",
        "columns": "No.|Subject|Question|Official reply|Status|Ball in court|Created by|RFI manager|"
        "Responsible company|Location|Trade|Reference|Due|Submitted|Answered|Closed|Working days|"
        "Cost impact|Amount|Schedule impact|Days of schedule",
        "none": "There are no numbered RFIs in this project yet.",
        "late": "Overdue",
        "yes": "Yes",
        "no": "No",
        "tbd": "To be determined",
        "days": "{days} d",
        "courts": "Days in court",
        "court_columns": "Person|Calendar days|Working days",
    },
}

# What a company is told that has been erased.
# What is wrong with a cell of a file that people import.
FAULTS: dict[str, dict[str, str]] = {
    "missing_column": {
        "es": "Falta esta columna en la primera fila.",
        "pt": "Esta coluna não está na primeira linha.",
        "en": "The first row doesn't have this column.",
    },
    "empty": {
        "es": "Está vacía y es obligatoria.",
        "pt": "Está vazia e é obrigatória.",
        "en": "It is empty, and needed.",
    },
    "too_long": {
        "es": "Es demasiado larga: {allowed} caracteres como máximo.",
        "pt": "É longa demais: no máximo {allowed} caracteres.",
        "en": "It is too long: {allowed} characters at most.",
    },
    "no_choice": {
        "es": "No se admite “{value}”; use uno de estos: {allowed}.",
        "pt": "“{value}” não é aceito; use um destes: {allowed}.",
        "en": "“{value}” isn't one of these: {allowed}.",
    },
    "no_email": {
        "es": "“{value}” no es una dirección de correo.",
        "pt": "“{value}” não é um endereço de e-mail.",
        "en": "“{value}” is no e-mail address.",
    },
    "repeated": {
        "es": "“{value}” ya aparece en la fila {allowed}.",
        "pt": "“{value}” já aparece na linha {allowed}.",
        "en": "“{value}” stands in row {allowed} already.",
    },
    "unknown": {
        "es": "“{value}” no existe, o no está entre lo que usted puede ver.",
        "pt": "“{value}” não existe, ou não está entre o que você pode ver.",
        "en": "There is no “{value}”, or it is not yours to see.",
    },
    "too_deep": {
        "es": "Los lugares admiten {allowed} niveles como máximo.",
        "pt": "Os locais admitem no máximo {allowed} níveis.",
        "en": "Places lie at most {allowed} levels deep.",
    },
}

# The file that names what was wrong with an import.
IMPORT_REPORT: dict[str, dict[str, str]] = {
    "es": {"file": "Errores de importación.csv", "columns": "Fila|Columna|Valor|Motivo"},
    "pt": {"file": "Erros de importação.csv", "columns": "Linha|Coluna|Valor|Motivo"},
    "en": {"file": "Import faults.csv", "columns": "Row|Column|Value|Reason"},
}

# What every paper says in its margins, and how it writes a day; months in their order.
PAPER: dict[str, dict[str, str]] = {
    "es": {
        "page_of": "Página {page} de {pages}",
        "printed": "Impreso el {at}",
        "day": "{day} de {month} de {year}",
        "months": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    },
    "pt": {
        "page_of": "Página {page} de {pages}",
        "printed": "Impresso em {at}",
        "day": "{day} de {month} de {year}",
        "months": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    },
    "en": {
        "page_of": "Page {page} of {pages}",
        "printed": "Printed on {at}",
        "day": "{month} {day}, {year}",
        "months": "January February March April May June July August September October November December",
    },
}

PROGRESS_PAPER: dict[str, dict[str, str]] = {
    "es": {
        "period": "Del {first} al {last}",
        "edition": "Edición {edition}",
        "published": "publicado el {at}",
        "draft": "Borrador: todavía no se ha publicado.",
        "corrected": "Una edición posterior sustituye a este informe.",
        "left_out": "Se omiten {count} fotos que ya no están disponibles.",
        "left_out_one": "Se omite una foto que ya no está disponible.",
        "physical": "Avance físico",
        "financial": "Avance financiero",
        "planned": "Programado",
        "actual": "Real",
        "deviation": "Desviación",
        "points": "{value} puntos",
        "budget": "Presupuesto",
        "spent": "Ejercido",
        "rest": "Por ejercer",
        "summary": "Resumen ejecutivo",
        "curve": "Curva S de avance",
        "physical_planned": "Físico programado",
        "physical_actual": "Físico real",
        "financial_planned": "Financiero programado",
        "financial_actual": "Financiero real",
        "milestones": "Hitos",
        "milestone": "Hito",
        "forecast": "Pronóstico",
        "state": "Estado",
        "done": "cumplido",
        "done_late": "cumplido, {days} días tarde",
        "done_late_one": "cumplido, 1 día tarde",
        "delayed": "{days} días de retraso",
        "delayed_one": "1 día de retraso",
        "due": "vencido",
        "on_time": "en fecha",
        "photos": "Registro fotográfico",
        "date": "Corte",
        "photos_count": "{count} fotos",
        "photos_count_one": "1 foto",
        "nothing": "—",
    },
    "pt": {
        "period": "De {first} a {last}",
        "edition": "Edição {edition}",
        "published": "publicado em {at}",
        "draft": "Rascunho: ainda não foi publicado.",
        "corrected": "Uma edição posterior substitui este relatório.",
        "left_out": "{count} fotos que não estão mais disponíveis foram omitidas.",
        "left_out_one": "Uma foto que não está mais disponível foi omitida.",
        "physical": "Avanço físico",
        "financial": "Avanço financeiro",
        "planned": "Previsto",
        "actual": "Realizado",
        "deviation": "Desvio",
        "points": "{value} pontos",
        "budget": "Orçamento",
        "spent": "Realizado",
        "rest": "Saldo",
        "summary": "Resumo executivo",
        "curve": "Curva S de avanço",
        "physical_planned": "Físico previsto",
        "physical_actual": "Físico realizado",
        "financial_planned": "Financeiro previsto",
        "financial_actual": "Financeiro realizado",
        "milestones": "Marcos",
        "milestone": "Marco",
        "forecast": "Tendência",
        "state": "Situação",
        "done": "concluído",
        "done_late": "concluído, {days} dias de atraso",
        "done_late_one": "concluído, 1 dia de atraso",
        "delayed": "{days} dias de atraso",
        "delayed_one": "1 dia de atraso",
        "due": "vencido",
        "on_time": "no prazo",
        "photos": "Registro fotográfico",
        "date": "Data-base",
        "photos_count": "{count} fotos",
        "photos_count_one": "1 foto",
        "nothing": "—",
    },
    "en": {
        "period": "{first} to {last}",
        "edition": "Edition {edition}",
        "published": "published on {at}",
        "draft": "Draft: not published yet.",
        "corrected": "A later edition replaces this report.",
        "left_out": "{count} photos that are no longer available are left out.",
        "left_out_one": "One photo that is no longer available is left out.",
        "physical": "Physical progress",
        "financial": "Financial progress",
        "planned": "Planned",
        "actual": "Actual",
        "deviation": "Variance",
        "points": "{value} points",
        "budget": "Budget",
        "spent": "Spent",
        "rest": "Remaining",
        "summary": "Executive summary",
        "curve": "Progress S-curve",
        "physical_planned": "Physical, planned",
        "physical_actual": "Physical, actual",
        "financial_planned": "Financial, planned",
        "financial_actual": "Financial, actual",
        "milestones": "Milestones",
        "milestone": "Milestone",
        "forecast": "Forecast",
        "state": "Status",
        "done": "done",
        "done_late": "done, {days} days late",
        "done_late_one": "done, 1 day late",
        "delayed": "{days} days behind",
        "delayed_one": "1 day behind",
        "due": "overdue",
        "on_time": "on time",
        "photos": "Photos",
        "date": "Date",
        "photos_count": "{count} photos",
        "photos_count_one": "1 photo",
        "nothing": "—",
    },
}

CERTIFICATES: dict[str, str] = {
    "es": """\
Constancia de borrado

Se borró todo lo que BuildPeer guardaba de {name} ({tenant_id}).

Región de los datos:      {data_region}
Comienzo:                 {began_at}
Fin:                      {erased_at}
Registros:                {rows}, entre ellos {documents} documentos
Objetos almacenados:      {objects}, {object_bytes} bytes
Personas:                 {people}; otras {people_kept} siguen, porque trabajan también para otras empresas
Bitácora de auditoría:    {audit_entries} anotaciones. De sus {batches} lotes quedan los sellos, sin contenido.
Último sello:             {head}

Las copias de respaldo están bloqueadas y no pueden borrarse antes; la última que contiene estos datos
vence a más tardar el {backups_gone_by}, 35 días después.
""",
    "pt": """\
Certificado de exclusão

Foi excluído tudo o que o BuildPeer guardava de {name} ({tenant_id}).

Região dos dados:         {data_region}
Início:                   {began_at}
Fim:                      {erased_at}
Registros:                {rows}, entre eles {documents} documentos
Objetos armazenados:      {objects}, {object_bytes} bytes
Pessoas:                  {people}; outras {people_kept} permanecem, porque também trabalham para outras empresas
Trilha de auditoria:      {audit_entries} anotações. Dos seus {batches} lotes restam os selos, sem conteúdo.
Último selo:              {head}

As cópias de segurança estão bloqueadas e não podem ser excluídas antes; a última que contém estes dados
vence no máximo em {backups_gone_by}, 35 dias depois.
""",
    "en": """\
Certificate of erasure

Everything that BuildPeer held of {name} ({tenant_id}) was erased.

Data region:              {data_region}
Begun:                    {began_at}
Ended:                    {erased_at}
Rows:                     {rows}, of which {documents} documents
Stored objects:           {objects}, {object_bytes} bytes
People:                   {people}; another {people_kept} stay, because they also work for other companies
Audit trail:              {audit_entries} entries. Of its {batches} batches the seals remain, without contents.
Last seal:                {head}

Backups are locked and can't be deleted earlier; the last one that holds this data expires by
{backups_gone_by}, 35 days later.
""",
}

# What stands on the paper of a daily log: titles, names of fields, and of what a field may hold (`field_value`).
DAILY_LOG_PAPER: dict[str, dict[str, str]] = {
    "es": {
        "title": "Parte diario de obra",
        "state": "Estado",
        "entries": "Anotaciones",
        "completed_by": "Responsable",
        "completed_at": "Cerrado",
        "state_open": "abierto",
        "state_completed": "cerrado",
        "state_distributed": "cerrado y enviado",
        "late_notice": "Anotaciones que llegaron después del cierre: {count}.",
        "conflict_notice": "Valores en conflicto que esperan una decisión: {count}.",
        "empty": "Ese día no se anotó nada.",
        "late": "llegó después del cierre",
        "yes": "sí",
        "remarks": "Observaciones",
        "kind_weather": "Clima",
        "kind_manpower": "Personal",
        "kind_equipment": "Equipo",
        "kind_delivery": "Entregas",
        "kind_delay": "Retrasos",
        "kind_note": "Notas",
        "kind_visitor": "Visitas",
        "kind_accident": "Accidentes e incidentes",
        "kind_safety": "Seguridad",
        "kind_quantity": "Cantidades ejecutadas",
        "kind_photo": "Fotografías",
        "observed_at": "Hora",
        "sky": "Cielo",
        "temperature": "°C",
        "rain": "Lluvia (mm)",
        "wind": "Viento",
        "ground": "Terreno",
        "wind_speed": "Viento (km/h)",
        "calamity": "Siniestro",
        "is_weather_delay": "Retraso por clima",
        "sky_clear": "despejado",
        "sky_cloudy": "nuboso",
        "sky_overcast": "cubierto",
        "sky_fog": "niebla",
        "sky_drizzle": "llovizna",
        "sky_rain": "lluvia",
        "sky_storm": "tormenta",
        "sky_snow": "nieve",
        "sky_hail": "granizo",
        "sky_smoke": "humo",
        "wind_calm": "calma",
        "wind_light": "ligero",
        "wind_high": "fuerte",
        "ground_dry": "seco",
        "ground_wet": "mojado",
        "ground_muddy": "lodoso",
        "ground_flooded": "inundado",
        "ground_frozen": "helado",
        "company": "Empresa",
        "company_id": "Empresa",
        "trade": "Oficio",
        "trade_id": "Oficio",
        "workers": "Trabajadores",
        "hours": "Horas",
        "location_id": "Lugar",
        "cost_code": "Partida",
        "comments": "Comentarios",
        "name": "Nombre",
        "quantity": "Cantidad",
        "hours_operating": "Horas en uso",
        "hours_idle": "Horas parado",
        "inspected": "Revisado",
        "contents": "Contenido",
        "delivered_at": "Hora",
        "delivery_from": "Proveedor",
        "tracking_number": "Remisión",
        "unit": "Unidad",
        "cause": "Causa",
        "start": "Desde",
        "end": "Hasta",
        "cause_weather": "clima",
        "cause_materials": "materiales",
        "cause_labor": "mano de obra",
        "cause_equipment": "equipo",
        "cause_design": "proyecto",
        "cause_permits": "permisos",
        "cause_payment": "pagos",
        "cause_client": "cliente",
        "cause_community": "comunidad",
        "cause_other": "otra",
        "text": "Nota",
        "is_issue": "Pendiente",
        "organization": "Organización",
        "arrived_at": "Llegada",
        "left_at": "Salida",
        "purpose": "Motivo",
        "happened_at": "Hora",
        "severity": "Gravedad",
        "description": "Descripción",
        "involved": "Personas",
        "reported_to_authority": "Avisado a la autoridad",
        "severity_near_miss": "casi accidente",
        "severity_first_aid": "primeros auxilios",
        "severity_medical": "atención médica",
        "severity_lost_time": "con baja",
        "severity_fatal": "mortal",
        "type": "Tipo",
        "type_talk": "charla",
        "type_inspection": "inspección",
        "type_violation": "incumplimiento",
        "type_observation": "observación",
        "attendees": "Asistentes",
        "issued_to": "Dirigido a",
        "compliance_due": "Corregir antes de",
        "item": "Concepto",
        "caption": "Descripción",
    },
    "pt": {
        "title": "Diário de obra",
        "state": "Situação",
        "entries": "Registros",
        "completed_by": "Responsável",
        "completed_at": "Concluído",
        "state_open": "aberto",
        "state_completed": "concluído",
        "state_distributed": "concluído e enviado",
        "late_notice": "Registros que chegaram depois da conclusão: {count}.",
        "conflict_notice": "Valores em conflito que aguardam uma decisão: {count}.",
        "empty": "Nada foi registrado nesse dia.",
        "late": "chegou depois da conclusão",
        "yes": "sim",
        "remarks": "Observações",
        "kind_weather": "Clima",
        "kind_manpower": "Mão de obra",
        "kind_equipment": "Equipamentos",
        "kind_delivery": "Entregas",
        "kind_delay": "Atrasos",
        "kind_note": "Observações do dia",
        "kind_visitor": "Visitas",
        "kind_accident": "Acidentes e incidentes",
        "kind_safety": "Segurança",
        "kind_quantity": "Quantidades executadas",
        "kind_photo": "Fotografias",
        "observed_at": "Hora",
        "sky": "Céu",
        "temperature": "°C",
        "rain": "Chuva (mm)",
        "wind": "Vento",
        "ground": "Solo",
        "wind_speed": "Vento (km/h)",
        "calamity": "Calamidade",
        "is_weather_delay": "Atraso por clima",
        "sky_clear": "limpo",
        "sky_cloudy": "nublado",
        "sky_overcast": "encoberto",
        "sky_fog": "neblina",
        "sky_drizzle": "garoa",
        "sky_rain": "chuva",
        "sky_storm": "tempestade",
        "sky_snow": "neve",
        "sky_hail": "granizo",
        "sky_smoke": "fumaça",
        "wind_calm": "calmo",
        "wind_light": "fraco",
        "wind_high": "forte",
        "ground_dry": "seco",
        "ground_wet": "molhado",
        "ground_muddy": "lamacento",
        "ground_flooded": "alagado",
        "ground_frozen": "congelado",
        "company": "Empresa",
        "company_id": "Empresa",
        "trade": "Ofício",
        "trade_id": "Ofício",
        "workers": "Trabalhadores",
        "hours": "Horas",
        "location_id": "Local",
        "cost_code": "Item de custo",
        "comments": "Comentários",
        "name": "Nome",
        "quantity": "Quantidade",
        "hours_operating": "Horas em uso",
        "hours_idle": "Horas parado",
        "inspected": "Inspecionado",
        "contents": "Conteúdo",
        "delivered_at": "Hora",
        "delivery_from": "Fornecedor",
        "tracking_number": "Nota de entrega",
        "unit": "Unidade",
        "cause": "Causa",
        "start": "De",
        "end": "Até",
        "cause_weather": "clima",
        "cause_materials": "materiais",
        "cause_labor": "mão de obra",
        "cause_equipment": "equipamento",
        "cause_design": "projeto",
        "cause_permits": "licenças",
        "cause_payment": "pagamentos",
        "cause_client": "cliente",
        "cause_community": "comunidade",
        "cause_other": "outra",
        "text": "Registro",
        "is_issue": "Pendência",
        "organization": "Organização",
        "arrived_at": "Chegada",
        "left_at": "Saída",
        "purpose": "Motivo",
        "happened_at": "Hora",
        "severity": "Gravidade",
        "description": "Descrição",
        "involved": "Envolvidos",
        "reported_to_authority": "Comunicado à autoridade",
        "severity_near_miss": "quase acidente",
        "severity_first_aid": "primeiros socorros",
        "severity_medical": "atendimento médico",
        "severity_lost_time": "com afastamento",
        "severity_fatal": "fatal",
        "type": "Tipo",
        "type_talk": "diálogo de segurança",
        "type_inspection": "inspeção",
        "type_violation": "descumprimento",
        "type_observation": "observação",
        "attendees": "Participantes",
        "issued_to": "Dirigido a",
        "compliance_due": "Corrigir até",
        "item": "Serviço",
        "caption": "Descrição",
    },
    "en": {
        "title": "Daily log",
        "state": "State",
        "entries": "Entries",
        "completed_by": "Completed by",
        "completed_at": "Completed",
        "state_open": "open",
        "state_completed": "completed",
        "state_distributed": "completed and sent",
        "late_notice": "Entries that came after it was completed: {count}.",
        "conflict_notice": "Values in conflict that wait for a decision: {count}.",
        "empty": "Nothing was noted on that day.",
        "late": "came after completion",
        "yes": "yes",
        "remarks": "Remarks",
        "kind_weather": "Weather",
        "kind_manpower": "Manpower",
        "kind_equipment": "Equipment",
        "kind_delivery": "Deliveries",
        "kind_delay": "Delays",
        "kind_note": "Notes",
        "kind_visitor": "Visitors",
        "kind_accident": "Accidents and incidents",
        "kind_safety": "Safety",
        "kind_quantity": "Quantities",
        "kind_photo": "Photos",
        "observed_at": "Time",
        "sky": "Sky",
        "temperature": "°C",
        "rain": "Rain (mm)",
        "wind": "Wind",
        "ground": "Ground",
        "wind_speed": "Wind (km/h)",
        "calamity": "Calamity",
        "is_weather_delay": "Weather delay",
        "sky_clear": "clear",
        "sky_cloudy": "cloudy",
        "sky_overcast": "overcast",
        "sky_fog": "fog",
        "sky_drizzle": "drizzle",
        "sky_rain": "rain",
        "sky_storm": "storm",
        "sky_snow": "snow",
        "sky_hail": "hail",
        "sky_smoke": "smoke",
        "wind_calm": "calm",
        "wind_light": "light",
        "wind_high": "high",
        "ground_dry": "dry",
        "ground_wet": "wet",
        "ground_muddy": "muddy",
        "ground_flooded": "flooded",
        "ground_frozen": "frozen",
        "company": "Company",
        "company_id": "Company",
        "trade": "Trade",
        "trade_id": "Trade",
        "workers": "Workers",
        "hours": "Hours",
        "location_id": "Location",
        "cost_code": "Cost code",
        "comments": "Comments",
        "name": "Name",
        "quantity": "Quantity",
        "hours_operating": "Hours in use",
        "hours_idle": "Idle hours",
        "inspected": "Inspected",
        "contents": "Contents",
        "delivered_at": "Time",
        "delivery_from": "From",
        "tracking_number": "Tracking number",
        "unit": "Unit",
        "cause": "Cause",
        "start": "From",
        "end": "To",
        "cause_weather": "weather",
        "cause_materials": "materials",
        "cause_labor": "labor",
        "cause_equipment": "equipment",
        "cause_design": "design",
        "cause_permits": "permits",
        "cause_payment": "payment",
        "cause_client": "client",
        "cause_community": "community",
        "cause_other": "other",
        "text": "Note",
        "is_issue": "Issue",
        "organization": "Organization",
        "arrived_at": "Arrived",
        "left_at": "Left",
        "purpose": "Purpose",
        "happened_at": "Time",
        "severity": "Severity",
        "description": "Description",
        "involved": "Involved",
        "reported_to_authority": "Reported to the authority",
        "severity_near_miss": "near miss",
        "severity_first_aid": "first aid",
        "severity_medical": "medical",
        "severity_lost_time": "lost time",
        "severity_fatal": "fatal",
        "type": "Type",
        "type_talk": "talk",
        "type_inspection": "inspection",
        "type_violation": "violation",
        "type_observation": "observation",
        "attendees": "Attendees",
        "issued_to": "Issued to",
        "compliance_due": "Comply by",
        "item": "Item",
        "caption": "Caption",
    },
}

# What stands on the paper of a bitácora.
BITACORA_PAPER: dict[str, dict[str, str]] = {
    "es": {
        "title": "Bitácora de obra",
        "contract": "Contrato",
        "works": "Obra",
        "client": "Contratante",
        "contractor": "Contratista",
        "amount": "Monto",
        "signing_days": "Plazo de firma (días)",
        "notes": "Notas",
        "parties": "Partes",
        "role": "Función",
        "name": "Nombre",
        "role_residente": "Residente de obra",
        "role_superintendente": "Superintendente",
        "role_supervisor": "Supervisor",
        "folio": "Nota",
        "class_opening": "Apertura",
        "class_closing": "Cierre",
        "class_order": "Orden",
        "class_request": "Solicitud",
        "class_authorization": "Autorización",
        "class_report": "Informe",
        "class_agreement": "Acuerdo",
        "class_correction": "Rectificación",
        "class_other": "Otra",
        "place": "Ubicación",
        "cause": "Causa",
        "solution": "Solución",
        "prevention": "Prevención",
        "economic_consequence": "Consecuencia económica",
        "responsibility": "Responsabilidad",
        "attend_by": "Fecha de atención",
        "refers_to": "Referencia a la nota",
        "attachment": "Anexo",
        "awaited": "por firmar hasta el {day}",
        "overdue": "sin firma; el plazo venció el {day}",
        "proof_title": "Cómo comprobar este documento",
        "proof": (
            "Cada nota lleva la huella SHA-256 de su contenido y la de la nota anterior, y se firma por esa "
            "huella. Este PDF contiene además el paquete de datos firmado por BuildPeer: «{command} "
            "archivo.pdf» comprueba las huellas, las firmas y que estas páginas digan lo mismo."
        ),
        "last_hash": "Huella de la última nota",
        "signatures": "Firmas",
        "signatures_hash": "Huella de las firmas",
        "exported": "Exportada",
    },
    "pt": {
        "title": "Livro de obra",
        "contract": "Contrato",
        "works": "Obra",
        "client": "Contratante",
        "contractor": "Contratada",
        "amount": "Valor",
        "signing_days": "Prazo de assinatura (dias)",
        "notes": "Notas",
        "parties": "Partes",
        "role": "Função",
        "name": "Nome",
        "role_residente": "Residente de obra",
        "role_superintendente": "Superintendente",
        "role_supervisor": "Supervisor",
        "folio": "Nota",
        "class_opening": "Abertura",
        "class_closing": "Encerramento",
        "class_order": "Ordem",
        "class_request": "Solicitação",
        "class_authorization": "Autorização",
        "class_report": "Informe",
        "class_agreement": "Acordo",
        "class_correction": "Retificação",
        "class_other": "Outra",
        "place": "Local",
        "cause": "Causa",
        "solution": "Solução",
        "prevention": "Prevenção",
        "economic_consequence": "Consequência econômica",
        "responsibility": "Responsabilidade",
        "attend_by": "Prazo de atendimento",
        "refers_to": "Referência à nota",
        "attachment": "Anexo",
        "awaited": "a assinar até {day}",
        "overdue": "sem assinatura; o prazo venceu em {day}",
        "proof_title": "Como conferir este documento",
        "proof": (
            "Cada nota traz a impressão SHA-256 do seu conteúdo e a da nota anterior, e é assinada por essa "
            "impressão. Este PDF contém também o pacote de dados assinado pelo BuildPeer: “{command} "
            "arquivo.pdf” confere as impressões, as assinaturas e se estas páginas dizem o mesmo."
        ),
        "last_hash": "Impressão da última nota",
        "signatures": "Assinaturas",
        "signatures_hash": "Impressão das assinaturas",
        "exported": "Exportado",
    },
    "en": {
        "title": "Site logbook (bitácora de obra)",
        "contract": "Contract",
        "works": "Works",
        "client": "Client",
        "contractor": "Contractor",
        "amount": "Amount",
        "signing_days": "Days to sign",
        "notes": "Notes",
        "parties": "Parties",
        "role": "Role",
        "name": "Name",
        "role_residente": "Resident engineer (residente)",
        "role_superintendente": "Superintendent (superintendente)",
        "role_supervisor": "Supervisor",
        "folio": "Note",
        "class_opening": "Opening",
        "class_closing": "Closing",
        "class_order": "Order",
        "class_request": "Request",
        "class_authorization": "Authorization",
        "class_report": "Report",
        "class_agreement": "Agreement",
        "class_correction": "Correction",
        "class_other": "Other",
        "place": "Place",
        "cause": "Cause",
        "solution": "Solution",
        "prevention": "Prevention",
        "economic_consequence": "Economic consequence",
        "responsibility": "Responsibility",
        "attend_by": "Attend by",
        "refers_to": "Refers to note",
        "attachment": "Attachment",
        "awaited": "to sign by {day}",
        "overdue": "not signed; it was due by {day}",
        "proof_title": "How to check this document",
        "proof": (
            "Each note carries the SHA-256 hash of what it says and that of the note before it, and is "
            "signed by that hash. This PDF also holds the data signed by BuildPeer: “{command} file.pdf” "
            "checks the hashes, the signatures, and that these pages say the same."
        ),
        "last_hash": "Hash of the last note",
        "signatures": "Signatures",
        "signatures_hash": "Hash of the signatures",
        "exported": "Exported",
    },
}


def notice_text(topic: str, language: str, *, count: int, facts: Mapping[str, Any]) -> str:
    """One line that says what happened; a topic without words is shown as it is."""
    words = NOTICES.get(topic, {}).get(language)
    if words is None:
        return topic
    told = {name: "—" if value is None else value for name, value in facts.items()}
    return words[count > 1].format_map(defaultdict(lambda: "—", told | {"count": count}))


_LEFT_OUT: dict[str, tuple[str, str]] = {
    "es": (
        "NO INCLUIDOS.txt",
        "Estos archivos no se incluyeron: todavía se revisan, fueron bloqueados o eliminados, o usted ya no puede "
        "verlos.",
    ),
    "pt": (
        "NÃO INCLUÍDOS.txt",
        "Estes arquivos não foram incluídos: ainda estão em verificação, foram bloqueados ou excluídos, ou você já não "
        "pode vê-los.",
    ),
    "en": (
        "LEFT OUT.txt",
        "These files were left out: they are still being checked, were locked away or erased, or you may not see them "
        "any more.",
    ),
}


def left_out(names: Sequence[str], language: str) -> tuple[str, str]:
    """The name and the text of the list of what an archive lacks; a file of its own in it."""
    name, text = _LEFT_OUT[language]
    return name, "\r\n".join([text, "", *names, ""])


def reason_text(code: str, language: str) -> str | None:
    """The sentence for a reason, or for the problem that was one; None for no reason. An unknown code is shown as it is
    rather than hidden.
    """
    if not code:
        return None
    texts = REASONS.get(code) or PROBLEMS.get(code)
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

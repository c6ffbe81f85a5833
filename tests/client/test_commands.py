import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from fake_server import Fake, Fault

from buildpeer.client.commands import COMMANDS, matching
from buildpeer.client.messages import LANGUAGES, language, shown, size
from buildpeer.client.shapes import Project

program = click.Group(commands={str(command.name): command for command in COMMANDS})
PROGRAM = """
import click
from buildpeer.client.commands import COMMANDS
click.Group(commands={c.name: c for c in COMMANDS})()
"""
CREDENTIALS = {"BUILDPEER_EMAIL": "ana@andes.co", "BUILDPEER_PASSWORD": "secreto"}


def run(fake: Fake, *args: str | Path, env: dict[str, str] | None = None) -> Result:
    env = {"BUILDPEER_API": fake.url} | (CREDENTIALS if env is None else env)
    return CliRunner().invoke(program, [str(arg) for arg in args], env=env)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def make(site: Path, *names: str, length: int = 1000) -> None:
    for name in names:
        (site / name).write_bytes(os.urandom(length))


def test_push_ends_with_0_and_says_what_became_of_each(fake: Fake, site: Path) -> None:
    make(site, "a.jpg", "b.pdf")
    result = run(fake, "push", site, "--project", "torre rio magdalena")
    assert result.exit_code == 0, result.output
    assert "Enviando a Torre Río Magdalena" in result.stdout
    assert "listo: a.jpg (1.0 kB)" in result.stdout
    assert result.stdout.endswith("2 listos\n")


def test_push_ends_with_1_if_any_failed(fake: Fake, site: Path) -> None:
    make(site, "a.jpg", "b.jpg")
    fake.ends["b.jpg"] = ("quarantined", "virus")
    result = run(fake, "push", site, "--project", "TRM")
    assert result.exit_code == 1
    assert "en cuarentena: b.jpg (1.0 kB). Contiene un virus." in result.stdout
    assert result.stdout.endswith("1 listo · 1 con problemas\n")


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("es", ("Enviando a", "en cuarentena", "Contiene un virus.", "1 con problemas")),
        ("pt", ("Enviando para", "em quarentena", "Contém um vírus.", "1 com problemas")),
        ("en", ("Sending to", "quarantined", "It contains a virus.", "1 with problems")),
    ],
)
def test_each_language_is_whole(fake: Fake, site: Path, lang: str, words: tuple[str, ...]) -> None:
    make(site, "a.jpg")
    fake.ends["a.jpg"] = ("quarantined", "virus")
    by_flag = run(fake, "push", site, "--project", "TRM", "--lang", lang)
    by_locale = run(fake, "push", site, "--project", "TRM", env=CREDENTIALS | {"LANG": f"{lang}_XX.UTF-8"})
    for result in (by_flag, by_locale):
        assert all(word in result.stdout for word in words), result.stdout


def test_an_unknown_project_lists_those_there_are(fake: Fake, site: Path) -> None:
    make(site, "a.jpg")
    result = run(fake, "push", site, "--project", "Torre [red]")
    assert result.exit_code == 2
    assert "No hay ningún proyecto «Torre [red]»" in result.stderr
    assert "TRM        Torre Río Magdalena" in result.stderr
    assert "ESJ" in result.stderr
    assert not fake.uploads


@pytest.mark.parametrize(
    "wanted", ["Edificio São João", "EDIFICIO  SAO JOAO", "esj", "p-2", "Edificio Sa\u0303o Joa\u0303o"]
)
def test_a_project_is_found_by_name_code_or_id(fake: Fake, wanted: str) -> None:
    projects = [Project(p["project_id"], p["name"], p["code"]) for p in fake.projects]
    assert [p.project_id for p in matching(projects, wanted)] == ["p-2"]


def test_projects_of_the_same_name_are_never_guessed(fake: Fake, site: Path) -> None:
    fake.projects[1]["name"] = "torre rio magdalena"
    make(site, "a.jpg")
    result = run(fake, "push", site, "--project", "Torre Río Magdalena")
    assert result.exit_code == 2
    assert "[p-1]" in result.stderr
    assert "[p-2]" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("push",),
        ("push", "x"),
        ("push", "x", "--project", "p", "--kind", "y"),
        ("push", "x", "--project", "p", "--api", "ftp://x"),
    ],
)
def test_misuse_ends_with_2(fake: Fake, args: tuple[str, ...]) -> None:
    assert run(fake, *args).exit_code == 2


def test_problems_of_the_server_are_told_in_its_words(fake: Fake, site: Path) -> None:
    make(site, "a.jpg")
    body = json.dumps(
        {"title": "Forbidden", "status": 403, "code": "suspended", "detail": "La cuenta está suspendida."}
    )
    fake.faults = [Fault("GET", "/v1/projects", 403, body=body.encode())]
    result = run(fake, "push", site, "--project", "TRM")
    assert result.exit_code == 1
    assert result.stderr == "La cuenta está suspendida.\n"


def test_login_keeps_the_session_and_never_shows_it(fake: Fake, home: Path, site: Path) -> None:
    result = run(fake, "login")
    assert result.exit_code == 0
    assert result.stdout == "Sesión iniciada: Ana Ñáñez, Constructora Andes\n"
    make(site, "a.jpg")
    pushed = run(fake, "push", site, "--project", "TRM", env={})
    assert pushed.exit_code == 0
    assert run(fake, "logout", env={}).stdout == "Sesión cerrada en este equipo.\n"
    assert fake.refresh_now == "nobody's"
    assert run(fake, "logout", env={}).stdout == "No había sesión iniciada.\n"
    after = run(fake, "push", site, "--project", "TRM", env={})
    assert after.exit_code == 1
    assert "buildpeer login" in after.stderr
    assert not any("secreto" in r.output or "access-" in r.output for r in (result, pushed, after))


def test_login_says_when_the_password_is_wrong(fake: Fake) -> None:
    result = run(fake, "login", env=CREDENTIALS | {"BUILDPEER_PASSWORD": "no"})
    assert result.exit_code == 1
    assert result.stderr == "El correo o la contraseña no son correctos.\n"


def test_login_without_a_terminal_names_the_variables(fake: Fake) -> None:
    result = run(fake, "login", env={})
    assert result.exit_code == 2
    assert "BUILDPEER_PASSWORD" in result.stderr


def test_login_takes_the_code_of_a_second_step(fake: Fake, home: Path) -> None:
    fake.code = "482913"
    without = run(fake, "login")
    assert (without.exit_code, "BUILDPEER_CODE" in without.stderr) == (2, True)
    wrong = run(fake, "login", "--code", "000000")
    assert (wrong.exit_code, "ya se usó" in wrong.stderr) == (1, True)
    right = run(fake, "login", env=CREDENTIALS | {"BUILDPEER_CODE": "482913"})
    assert right.stdout == "Sesión iniciada: Ana Ñáñez, Constructora Andes\n"
    assert run(fake, "logout", env={}).exit_code == 0
    pushed = run(fake, "push", home, "--project", "TRM")
    assert (pushed.exit_code, "buildpeer login" in pushed.stderr) == (1, True)


def test_login_asks_for_the_code_at_a_terminal_until_it_is_right(fake: Fake, home: Path) -> None:
    fake.code = "482913"
    env = os.environ | CREDENTIALS | {"BUILDPEER_API": fake.url, "PYTHONPATH": os.pathsep.join(sys.path)}
    terminal, keyboard = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, "login", "--lang", "pt"]
    process = subprocess.Popen(
        command, env=env, stdin=keyboard, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.write(terminal, b"000000\n482913\n")
    out, err = process.communicate(timeout=30)
    os.close(terminal)
    os.close(keyboard)
    assert process.returncode == 0, err
    assert out.count("Código do aplicativo") == 2
    assert "já foi usado" in err
    assert "Sessão iniciada: Ana Ñáñez" in out


def start(fake: Fake, home: Path, *args: str | Path) -> "subprocess.Popen[str]":
    env = os.environ | CREDENTIALS | {"BUILDPEER_API": fake.url, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, *map(str, args)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_push_that_was_killed_goes_on_where_it_was(fake: Fake, home: Path, site: Path) -> None:
    make(site, *(f"f{n:02}.jpg" for n in range(30)), length=200_000)
    fake.faults = [Fault("PUT", "/s3/", "hang", times=99, when=lambda request: len(fake.objects) >= 8)]
    first = start(fake, home, "push", site, "--project", "TRM")
    wait_for(lambda: len(fake.objects) >= 8 and fake.faults[0].times < 99)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    ids, sent = set(fake.uploads), set(fake.objects)
    fake.faults = []
    second = start(fake, home, "push", site, "--project", "TRM")
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0, out
    assert set(fake.uploads) >= ids
    assert len(fake.uploads) == 30, "no file was announced twice"
    assert len(fake.objects) == 30
    assert sum(len(r.body) for r in fake.puts()) == 30 * 200_000, "nothing that had arrived was sent again"
    assert out.count("ya estaba:") == len(sent)


def test_ctrl_c_says_how_to_go_on(fake: Fake, home: Path, site: Path) -> None:
    make(site, "a.jpg")
    fake.faults = [Fault("PUT", "/s3/", "hang", times=99)]
    process = start(fake, home, "push", site, "--project", "TRM")
    wait_for(lambda: fake.faults[0].times < 99)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "Interrumpido. Repita el mismo comando para continuar donde quedó.\n"


def test_watch_prints_events_as_json_or_for_people(fake: Fake, home: Path, site: Path) -> None:
    make(site, "ñ [red]\u2028.jpg")
    as_json = start(fake, home, "watch", "--json")
    for_people = start(fake, home, "watch", "--project", "TRM", "--lang", "en")
    try:
        wait_for(lambda: len(fake.streams) == 2)
        assert run(fake, "push", site, "--project", "TRM").exit_code == 0
        lines = [json.loads(as_json.stdout.readline()) for _ in range(2)]  # type: ignore[union-attr]
        fake.cut_streams()
        lines += [json.loads(as_json.stdout.readline()) for _ in range(3)]  # type: ignore[union-attr]
        said = [for_people.stdout.readline() for _ in range(5)]  # type: ignore[union-attr]
    finally:
        for process in (as_json, for_people):
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
    assert [line["position"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[0]["upload"]["name"] == "ñ [red]\u2028.jpg"
    local = time.strftime("%H:%M:%S", time.localtime(1767279845))
    assert said[0].startswith(local)
    assert "ñ [red]\\u2028.jpg" in said[0]
    assert "ready" in said[-1]
    assert "Torre Río Magdalena" in said[-1]
    assert said[-1].endswith("you\n")


def test_the_catalogue_has_every_language_and_the_same_blanks() -> None:
    from buildpeer.client import messages

    for key, variants in (messages._CATALOGUE | messages._ONE).items():
        assert len(variants) == len(LANGUAGES), key
        blanks = [sorted(part.split("}")[0] for part in variant.split("{")[1:]) for variant in variants]
        assert blanks[0] == blanks[1] == blanks[2], key


def test_the_language_is_the_one_wanted_or_the_locale_s_or_spanish() -> None:
    assert language("en", {"LANG": "pt_BR.UTF-8"}) == "en"
    assert language(None, {"LANG": "pt_BR.UTF-8"}) == "pt"
    assert language(None, {"LC_ALL": "en_US", "LANG": "pt_BR"}) == "en"
    assert language(None, {"LANG": "C.UTF-8"}) == language(None, {}) == language(None, {"LANG": "de_DE"}) == "es"


def test_sizes_and_names_for_people() -> None:
    assert [size("es", n) for n in (0, 999, 1000, 4_080_000, 999_960, 120_000_000, 5_400_000_000)] == [
        "0 B", "999 B", "1.0 kB", "4.1 MB", "1.0 MB", "120 MB", "5.4 GB",
    ]  # fmt: skip
    assert size("pt", 4_080_000) == "4,1 MB"
    assert shown("a\x1b[31m\u202eb\udcff\n👷🏽‍♀️ñ") == "a\\x1b[31m\\u202eb\\xff\\x0a👷🏽‍♀️ñ"

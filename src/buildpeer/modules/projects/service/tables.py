"""What tables of places and people must hold to be imported."""

import re
from collections.abc import Callable, Hashable
from typing import Any

from buildpeer.modules.identity import facade as identity
from buildpeer.platform.errors import Problem
from buildpeer.platform.sheets import Column, Fault, Refused, Row, Table

DEEPEST = 10  # as app.keep_tree() has it
_LONGEST_NAME = 100
_ROLES = {
    "manager": ("manager", "gerente", "gestor", "administrador"),
    "residente": ("residente", "engenheiro residente", "resident", "site engineer"),
    "inversionista": ("inversionista", "investidor", "investor"),
    "empleado_obra": ("empleado_obra", "empleado de obra", "trabajador", "trabalhador", "field worker"),
}


def same_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """By what two paths are the same: Postgres compares names in small letters."""
    return tuple(name.lower() for name in path)


def unrepeated(table: Table, name: str, same: Callable[[Any], Hashable]) -> Table:
    """A table in which a line whose `name` stands in an earlier one is a fault."""
    first: dict[Hashable, int] = {}
    rows: list[Row] = []
    faults = list(table.faults)
    for row in table.rows:
        line = first.setdefault(same(row.values[name]), row.line)
        if line == row.line:
            rows.append(row)
        else:
            value = row.values[name]
            told = " / ".join(value) if isinstance(value, tuple) else str(value)
            faults.append(Fault(row.line, _TOLD[name], "repeated", told, str(line)))
    return Table(rows, sorted(faults, key=lambda fault: fault.line), table.lines)


def _read_path(text: str) -> tuple[str, ...]:
    names = tuple(" ".join(part.split()) for part in re.split("[/>]", text))
    if not all(names):
        raise Refused("empty")
    if len(names) > DEEPEST:
        raise Refused("too_deep", str(DEEPEST))
    if any(len(name) > _LONGEST_NAME for name in names):
        raise Refused("too_long", str(_LONGEST_NAME))
    return names


def _read_email(text: str) -> str:
    try:
        return identity.check_email(text)
    except Problem as exc:
        raise Refused("no_email") from exc


def _read_role(text: str) -> str:
    for role, names in _ROLES.items():
        if text.casefold() in names:
            return role
    raise Refused("no_choice", ", ".join(_ROLES))


def _read_codes(text: str) -> list[str]:
    return [code for part in re.split("[;,|]", text) if (code := part.strip())]


LOCATION_COLUMNS = (
    Column(name="path", names=("Lugar", "Ubicación", "Local", "Location"), required=True, most=1100, read=_read_path),
)
PEOPLE_COLUMNS = (
    Column(name="email", names=("Correo", "E-mail", "Email"), required=True, most=254, read=_read_email),
    Column(name="role", names=("Rol", "Papel", "Função", "Role"), read=_read_role),
    Column(name="projects", names=("Obras", "Proyectos", "Projetos", "Projects"), most=2000, read=_read_codes),
)
_TOLD = {column.name: column.names[0] for column in (*LOCATION_COLUMNS, *PEOPLE_COLUMNS)}

"""The import contract that keeps a module's rooms its own."""

from typing import Any

import grimp
from importlinter import Contract, ContractCheck, output

MODULES = "buildpeer.modules"
PUBLIC = ("facade", "events")


class FacadesContract(Contract):
    """A module may import of another module only its `facade` and `events`."""

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        """Look at each import between two modules."""
        broken = [
            (importer, imported)
            for importer in sorted(graph.find_descendants(MODULES))
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if imported.startswith(f"{MODULES}.")
            and _module(imported) != _module(importer)
            and _room(imported) not in PUBLIC
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each import that reaches into another module."""
        broken: Any = check.metadata["broken"]
        for importer, imported in broken:
            output.print_error(f"- {importer} reaches into {imported}", bold=False)


def _module(name: str) -> str:
    return name.split(".")[2]


def _room(name: str) -> str:
    return name.split(".")[3] if name.count(".") > 2 else ""

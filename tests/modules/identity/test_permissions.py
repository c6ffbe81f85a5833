"""The table of permissions, as rules and as people meet it."""

from uuid import uuid4

import pytest
from tests.conftest import Company, declare

from buildpeer.modules.identity import rules
from buildpeer.platform.errors import Problem


@pytest.mark.parametrize("tool", rules.TOOLS)
@pytest.mark.parametrize("role", [*rules.ROLES, None])
def test_a_level_holds_those_before_it_and_what_is_not_seen_is_not_found(tool: rules.Tool, role: str | None) -> None:
    held = rules.level_of(role, tool)
    for level in rules.LEVELS[1:]:
        if rules.LEVELS.index(level) <= rules.LEVELS.index(held):
            rules.permit(role, tool, level)
        else:
            with pytest.raises(Problem) as refused:
                rules.permit(role, tool, level)
            assert refused.value.code == ("not_found" if held == "none" else "not_allowed")


def test_what_the_roles_promise_stands_in_the_table() -> None:
    assert set(rules.permissions_of("inversionista").values()) <= {"none", "read"}
    field = rules.permissions_of("empleado_obra")
    assert (field["budgets"], field["people"]) == ("none", "none")
    assert (field["files"], field["daily_logs"], field["rfis"]) == ("standard",) * 3
    assert all(rules.level_of(None, tool) == "none" for tool in rules.TOOLS)


async def test_an_investor_may_not_send_where_they_may_look_and_finds_nothing_elsewhere(http, company: Company) -> None:
    investor = await company.hire("inversionista")
    answers = [
        await http.post(
            f"/v1/projects/{project}/uploads", json={"uploads": [declare(b"a")]}, headers=company.bearer(investor)
        )
        for project in (company.tower, company.school, uuid4())
    ]
    assert [answer.json()["code"] for answer in answers] == ["not_allowed", "not_found", "not_found"]


async def test_who_may_send_nothing_is_told_so_rather_than_that_files_are_missing(http, company: Company) -> None:
    file = {"upload_id": str(uuid4())}
    calls = {
        "manifests": {"files": [file | {"sha256": "00" * 32}]},
        "progress": {"uploads": [file | {"sent_bytes": 1}]},
    }
    for role, expected in (("inversionista", {403}), ("empleado_obra", {200, 204})):
        headers = company.bearer(await company.hire(role))
        answers = [await http.post(f"/v1/{path}", json=body, headers=headers) for path, body in calls.items()]
        assert {answer.status_code for answer in answers} == expected

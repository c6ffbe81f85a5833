"""Random lives of RFIs against a model that keeps the same rules in plainer words, over the real Postgres."""

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.modules.rfis.conftest import Site

from buildpeer.modules.rfis import rules, service, store
from buildpeer.modules.rfis.service import Shown
from buildpeer.platform.errors import Problem
from buildpeer.platform.ids import new_id

EVERYBODY = ("creator", "manager", "first", "second", "other", "owner")
WHO, PICK = st.sampled_from(EVERYBODY), st.integers(0, 1000)
ACTIONS = ("submit", "open", "reject", "revise", "recall", "close", "void", "reopen")
BORN, ENDS = "draft", ("closed", "void")


class Model:
    """What somebody would keep of one RFI on paper."""

    def __init__(self, private: bool) -> None:
        self.private = private
        self.status, self.number = BORN, None
        self.owing = {"first", "second"}
        self.reviewer: str | None = None
        self.forwarded: set[str] = set()
        self.replies: list[UUID] = []
        self.official: UUID | None = None
        self.last: tuple[Any, ...] = ()

    @property
    def ball(self) -> set[str]:
        if self.status in (BORN, "rejected"):
            return {"creator"}
        if self.status == "submitted":
            return {"manager"}
        if self.status == "answered":
            return {"manager", "creator"}
        if self.status in ENDS:
            return set()
        return {self.reviewer} if self.reviewer else self.owing or {"manager"}

    def seen_by(self, who: str) -> bool:
        if self.status == BORN:
            return who in ("creator", "owner")
        return not self.private or who != "other" or who in self.forwarded

    def may(self, verb: str, who: str) -> bool:
        author, boss = who in ("creator", "owner"), who in ("manager", "owner")
        said: dict[tuple[str, str], bool] = {
            ("submit", BORN): author,
            ("open", "submitted"): boss,
            ("reject", "submitted"): boss,
            ("revise", "rejected"): author,
            ("reply", "open"): author or boss or who in ("first", "second", self.reviewer),
            ("forward", "open"): boss or who in self.ball,
            ("recall", "open"): boss and self.reviewer is not None,
            ("answer", "open"): boss,
            ("answer", "answered"): boss,
            ("close", "answered"): author or boss,
            ("void", BORN): author,
            ("void", "rejected"): author,
            ("reopen", "answered"): boss,
            ("reopen", "closed"): boss,
            ("reopen", "void"): author,
        }
        said |= {("void", status): boss for status in ("submitted", "open", "answered")}
        return said.get((verb, self.status), False)

    def judge(self, verb: str, who: str) -> str:
        """The problem that a call meets; nothing if none."""
        if not self.seen_by(who):
            return "not_found"
        if self.may(verb, who):
            return ""
        return "not_allowed" if any(self.may(verb, somebody) for somebody in EVERYBODY) else "rfi_state"


class Machine(RuleBasedStateMachine):
    loop: asyncio.AbstractEventLoop
    site: Site

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[UUID, Model] = {}
        self.numbers = 0
        self.touched: UUID | None = None

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def caller(self, who: str) -> Any:
        return getattr(self.site, who)

    def pick(self, number: int) -> tuple[UUID, Model]:
        self.touched = list(self.models)[number % len(self.models)]
        return self.touched, self.models[self.touched]

    def attempt(self, model: Model, problem: str, call: Coroutine[Any, Any, Shown]) -> bool:
        """Make a call, and see to it that it goes as the model says; whether it went through."""
        try:
            shown = self.wait(call)
        except Problem as met:
            assert met.code == problem, (met.code, problem, model.status)
            return False
        assert problem == "", (problem, model.status)
        self.shown = shown
        return True

    def agree(self, model: Model, who: str) -> None:
        """What the caller was shown is what the model has."""
        rfi = self.shown.rfi
        names = {self.caller(name).person_id: name for name in EVERYBODY}
        assert (rfi.status, rfi.number) == (model.status, model.number)
        assert {names[person] for person in rfi.ball_in_court} == model.ball
        verbs = ("reply", "forward", "answer", *ACTIONS)
        assert set(self.shown.permitted_actions) - {"edit"} == {verb for verb in verbs if model.may(verb, who)}
        assert [reply.reply_id for reply in self.shown.replies if reply.official] == (
            [model.official] if model.official else []
        )
        assert model.official or model.status not in ("answered", "closed")

    @initialize(private=st.booleans())
    def begin(self, private: bool) -> None:
        self.write(private)

    @rule(private=st.booleans())
    def write(self, private: bool) -> None:
        if len(self.models) == 3:
            return
        self.shown = self.wait(self.site.create(private=private))
        self.touched = self.shown.rfi.rfi_id
        self.models[self.touched] = Model(private)
        self.agree(self.models[self.touched], "creator")

    @rule(number=PICK, who=WHO, action=st.sampled_from(ACTIONS), twice=st.booleans())
    def act(self, number: int, who: str, action: str, twice: bool) -> None:
        rfi_id, model = self.pick(number)
        call = lambda: self.site.act(self.caller(who), rfi_id, action)  # noqa: E731
        again = model.last == (action, who)
        problem = "" if again and model.seen_by(who) else model.judge(action, who)
        if not self.attempt(model, problem, call()):
            return
        if not again:
            self.moved(model, action)
            model.last = (action, who)
        self.agree(model, who)
        if twice and model.seen_by(who):  # the answer got lost
            assert self.attempt(model, "", call())
            self.agree(model, who)

    def moved(self, model: Model, action: str) -> None:
        if action == "submit" and model.number is None:
            self.numbers += 1
            model.number = self.numbers
        if action == "reopen":
            model.status = BORN if model.status == "void" else "open"
            model.owing, model.official = {"first", "second"}, None
        to = {"submit": "submitted", "open": "open", "reject": "rejected", "revise": BORN, "close": "closed"}
        model.status = (to | {"void": "void"}).get(action, model.status)
        if action in ("recall", "close", "void", "reopen"):
            model.reviewer = None

    @rule(number=PICK, who=WHO, twice=st.booleans())
    def reply(self, number: int, who: str, twice: bool) -> None:
        rfi_id, model = self.pick(number)
        reply_id = new_id()
        call = lambda: self.site.reply(self.caller(who), rfi_id, reply_id=reply_id)  # noqa: E731
        if not self.attempt(model, model.judge("reply", who), call()):
            return
        model.replies.append(reply_id)
        model.owing -= {who}
        model.reviewer = None if model.reviewer == who else model.reviewer
        model.last = ()
        self.agree(model, who)
        if twice:
            assert self.attempt(model, "", call())
            self.agree(model, who)

    @rule(number=PICK, who=WHO, to=WHO)
    def forward(self, number: int, who: str, to: str) -> None:
        rfi_id, model = self.pick(number)
        again = model.last == ("forward", who, to) and model.reviewer == to
        problem = "" if again and model.seen_by(who) else model.judge("forward", who)
        call = self.site.act(self.caller(who), rfi_id, "forward", person_id=self.caller(to).person_id)
        if not self.attempt(model, problem, call):
            return
        model.reviewer, model.last = to, ("forward", who, to)
        model.forwarded.add(to)
        self.agree(model, who)

    @rule(number=PICK, who=WHO, choice=PICK)
    def answer(self, number: int, who: str, choice: int) -> None:
        rfi_id, model = self.pick(number)
        reply_id = model.replies[choice % len(model.replies)] if model.replies else new_id()
        again = model.last == ("answer", who, reply_id) and model.status == "answered"
        problem = "" if again else model.judge("answer", who)
        if problem == "" and not model.replies:
            problem = "reference_unknown"
        call = self.site.act(self.caller(who), rfi_id, "answer", reply_id=reply_id)
        if not self.attempt(model, problem, call):
            return
        model.status, model.official, model.reviewer = "answered", reply_id, None
        model.last = ("answer", who, reply_id)
        self.agree(model, who)

    @rule(number=PICK, choice=PICK, to=WHO)
    def go_on(self, number: int, choice: int, to: str) -> None:
        """Something that somebody may do: by chance alone few questions would ever be answered."""
        self.step_on(number, choice, to)

    @rule(number=PICK, choice=PICK, to=WHO)
    def go_on_again(self, number: int, choice: int, to: str) -> None:
        self.step_on(number, choice, to)

    def step_on(self, number: int, choice: int, to: str) -> None:
        _, model = self.pick(number)
        verbs = [verb for verb in ("reply", "forward", "answer", *ACTIONS) if verb != "void"]
        moves = [(verb, who) for verb in verbs for who in EVERYBODY if model.judge(verb, who) == ""]
        verb, who = moves[choice % len(moves)]
        match verb:
            case "reply":
                self.reply(number, who, False)
            case "forward":
                self.forward(number, who, to)
            case "answer":
                self.answer(number, who, choice)
            case _:
                self.act(number, who, verb, False)

    @invariant()
    def what_is_put_down_is_whole(self) -> None:
        if self.touched is None:
            return
        model = self.models[self.touched]
        history = self.wait(
            service.list_transitions(self.site.db, caller=self.site.owner, rfi_id=self.touched, after=0, limit=1000)
        )
        assert [t.version for t in history] == list(range(1, len(history) + 1))
        for before, after in pairwise(history):
            assert (before.status_after, before.ball_after) == (after.status_before, after.ball_before)
        assert history[-1].status_after == model.status
        for who in ("other", "first", "manager", "creator"):
            assert self.wait(self.sees(who)) == model.seen_by(who)

    async def sees(self, who: str) -> bool:
        """The table's policy and the rules' audience agree on it, too."""
        assert self.touched is not None
        async with self.site.db.transaction(self.caller(who).scope) as tx:
            seen = await store.by_id(tx, self.touched)
        async with self.site.db.transaction(self.site.owner.scope) as tx:
            rfi = await store.by_id(tx, self.touched)
        assert rfi is not None
        only = rules.audience(rfi)
        assert (seen is not None) == (only is None or self.caller(who).person_id in only)
        return seen is not None

    def teardown(self) -> None:
        numbers = sorted(model.number for model in self.models.values() if model.number)
        assert numbers == list(range(1, len(numbers) + 1))


async def test_whatever_people_do_an_rfi_is_where_the_model_has_it(db, admin, found_company) -> None:
    class Once(Machine):
        loop = asyncio.get_running_loop()

        def __init__(self) -> None:
            super().__init__()
            self.site = self.wait(self.arrive())

        async def arrive(self) -> Site:
            return await Site(db, await found_company(), admin).hire()

    await asyncio.to_thread(
        run_state_machine_as_test,
        Once,
        settings=settings(
            max_examples=12,
            phases=[Phase.generate],  # shrinking takes minutes here
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

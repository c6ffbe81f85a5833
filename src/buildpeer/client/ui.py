"""How a push looks: bars on a terminal, lines in a log, and a table of what became of each file."""

from collections import Counter
from collections.abc import Sequence
from typing import Self

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column, Table
from rich.text import Text

from buildpeer.client import messages
from buildpeer.client.items import FINE, Item, Outcome
from buildpeer.client.messages import shown, text

_LOOKS = {
    "ready": ("✓", "green"),
    "known": ("✓", "cyan"),
    "duplicate": ("✓", "cyan"),
    "skipped": ("–", "bright_black"),
    "pending": ("…", "yellow"),
}
_BAD = ("✗", "red")
_MOST_ROWS = 40
_BAR = 20
_AT_WORK = ("sending", "pausing")


def screen(console: Console, lang: str) -> "Bars | Lines":
    """Bars if somebody is watching, lines if not."""
    return Bars(console, lang) if console.is_terminal else Lines(console, lang)


class Lines:
    """One plain line per file when it has ended, and one for each time it has to be tried again."""

    def __init__(self, console: Console, lang: str) -> None:
        self._console = console
        self._lang = lang
        self._all = 0
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def began(self, items: Sequence[Item]) -> None:
        """See items.View."""
        self._all = len(items)
        for item in items:
            self.moved(item)

    def moved(self, item: Item) -> None:
        """See items.View."""
        name = shown(item.path.name)
        if item.stage == "pausing":
            self._line(f"{_pause(self._lang, item)}: {name}")
        elif item.outcome:
            self._done += 1
            result = messages.state(self._lang, item.outcome.result)
            tail = f". {shown(item.outcome.reason)}" if item.outcome.reason else ""
            count = f"{self._done}/{self._all}"
            self._line(f"{count} {result}: {name} ({messages.size(self._lang, item.file.size)}){tail}")

    def _line(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True, emoji=False)


class Bars:
    """A bar for each file on its way, and one for all of them."""

    def __init__(self, console: Console, lang: str) -> None:
        self._lang = lang
        self._width = max(16, min(44, console.width - 57))
        self._items: Sequence[Item] = ()
        self._tasks: dict[int, TaskID] = {}
        self._shares: dict[int, tuple[int, int]] = {}
        self._sums = [0, 0]
        self._stages: Counter[str] = Counter()
        self._last: dict[int, str] = {}
        name = Column(width=self._width, no_wrap=True)
        self._files = Progress(
            TextColumn("{task.description}", table_column=name, markup=False),
            BarColumn(_BAR, complete_style="cyan", finished_style="green"),
            _Amount(lang),
            TextColumn("{task.fields[note]}", style="bright_black", markup=False),
            console=console,
        )
        self._total = Progress(
            TextColumn("{task.description}", table_column=name, markup=False, style="bold"),
            BarColumn(_BAR, complete_style="cyan", finished_style="green"),
            _Amount(lang),
            _Rate(lang),
            console=console,
        )
        self._counts = Text("", style="bright_black")
        self._whole = self._total.add_task(text(lang, "push.total"), total=1)
        self._live = Live(
            Group(self._files, self._total, self._counts),
            console=console,
            transient=True,
            refresh_per_second=8,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def began(self, items: Sequence[Item]) -> None:
        """See items.View."""
        self._items = items
        for item in items:
            self.moved(item)

    def moved(self, item: Item) -> None:
        """See items.View."""
        self._count(item)
        known = self._tasks.get(id(item))
        if item.stage not in _AT_WORK:
            if known is not None:
                self._files.remove_task(self._tasks.pop(id(item)))
        elif known is None:
            name = shorten(shown(item.path.name), self._width)
            self._tasks[id(item)] = self._files.add_task(
                name, total=item.file.size, completed=item.sent, note=self._note(item)
            )
        else:
            self._files.update(known, total=item.file.size, completed=item.sent, note=self._note(item))

    def _note(self, item: Item) -> str:
        return _pause(self._lang, item) if item.stage == "pausing" else ""

    def _count(self, item: Item) -> None:
        """Keep the sums: a file that needs no sending, or none any more, counts with what was sent of it."""
        over = item.stage in ("checking", "done")
        share = (item.sent if over else item.file.size, item.sent)
        before = self._shares.get(id(item), (0, 0))
        self._shares[id(item)] = share
        self._sums = [self._sums[0] + share[0] - before[0], self._sums[1] + share[1] - before[1]]
        self._stages[self._last.get(id(item), "")] -= 1
        self._last[id(item)] = item.stage
        self._stages[item.stage] += 1
        done, everything = self._stages["done"], len(self._items)
        total = self._sums[0] or 1
        completed = total if done == everything else self._sums[1]
        self._total.update(self._whole, total=total, completed=completed)
        parts = [text(self._lang, "push.files", done=done, all=everything)]
        if self._stages["checking"]:
            parts.append(text(self._lang, "push.checking", n=self._stages["checking"]))
        self._counts.plain = " · ".join(parts)


def _pause(lang: str, item: Item) -> str:
    return text(lang, f"waits.{item.waits_for}" if item.waits_for else "stage.pausing")


class _Amount(ProgressColumn):
    """`1.2 / 4.1 MB`."""

    def __init__(self, lang: str) -> None:
        super().__init__(Column(width=16, justify="right", no_wrap=True))
        self._lang = lang

    def render(self, task: Task) -> Text:
        return Text(messages.progress(self._lang, int(task.completed), int(task.total or 0)))


class _Rate(ProgressColumn):
    """`3.2 MB/s  1:40`: how fast, and how long still (minutes and seconds)."""

    def __init__(self, lang: str) -> None:
        super().__init__(Column(no_wrap=True))
        self._lang = lang

    def render(self, task: Task) -> Text:
        if not task.speed or task.finished:
            return Text("")
        left = int(task.time_remaining or 0)
        clock = (
            f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
        )
        return Text(f"{messages.size(self._lang, int(task.speed))}/s  {clock}", style="bright_black")


def report(console: Console, lang: str, outcomes: Sequence[Outcome]) -> None:
    """What became of each file. Of very many that went well only the number is told."""
    if not outcomes:
        console.print(text(lang, "push.nothing"))
        return
    if console.is_terminal:
        console.print(_table(lang, outcomes))
        console.print()
    console.print(_summary(lang, outcomes))


def _table(lang: str, outcomes: Sequence[Outcome]) -> Table:
    rows = outcomes
    if len(outcomes) > _MOST_ROWS:
        rows = [outcome for outcome in outcomes if not outcome.fine]
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    table.add_column(text(lang, "table.file"), overflow="fold", ratio=None, min_width=16)
    table.add_column(text(lang, "table.size"), justify="right", no_wrap=True)
    table.add_column(text(lang, "table.outcome"), no_wrap=True)
    if any(outcome.reason for outcome in rows):
        table.add_column(text(lang, "table.reason"), overflow="fold")
    for outcome in rows:
        mark, style = _LOOKS.get(outcome.result, _BAD)
        cells = [
            Text(shown(outcome.path.name)),
            Text(messages.size(lang, outcome.size) if outcome.size else ""),
            Text(f"{mark} {messages.state(lang, outcome.result)}", style=style),
            Text(shown(outcome.reason)),
        ]
        table.add_row(*cells[: len(table.columns)])
    if len(rows) < len(outcomes):
        table.caption = text(lang, "table.more", n=len(outcomes) - len(rows))
        table.caption_justify = "left"
    return table


def _summary(lang: str, outcomes: Sequence[Outcome]) -> Text:
    results = Counter(outcome.result for outcome in outcomes)
    bad = sum(n for result, n in results.items() if result not in FINE and result != "pending")
    parts: list[Text] = []
    for result in ("ready", "known", "duplicate", "pending", "skipped"):
        if results[result]:
            parts.append(Text(text(lang, f"sum.{result}", n=results[result]), style=_LOOKS[result][1]))
    if bad:
        parts.append(Text(text(lang, "sum.bad", n=bad), style="bold red"))
    return Text(" · ").join(parts)


def shorten(name: str, width: int) -> str:
    """The name in at most `width` cells; cut in the middle, since its end tells what it is."""
    if cell_len(name) <= width:
        return name
    head, tail = name, name[-min(10, width // 2) :]
    while cell_len(head) + cell_len(tail) + 1 > width:
        head = head[:-1]
    return f"{head}…{tail}"

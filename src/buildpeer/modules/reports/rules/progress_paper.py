"""Progress reports and photo reports as they stand on paper: from the page that people see to what Typst prints."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from buildpeer.modules.reports.rules.progress import CurvePoint, Milestone, Page, PagePhoto, Progress, Status
from buildpeer.platform import paper
from buildpeer.platform.messages import PROGRESS_PAPER

_MOST_LABELS = 12  # below the curve
_MOST_LINES = 14  # of its table

# The S-curve is drawn: x and y from 0 to 1, y upwards. What was measured ends with the period, which a line marks.
REPORT_TEMPLATE = """
#show: letter
#let planned-ink = rgb("#98a2b3")
#let money-ink = rgb("#2e6f8e")
#let card(title, progress) = block(width: 100%, fill: shade, radius: 3pt, inset: 10pt, breakable: false, {
  text(size: 9pt, fill: quiet, title)
  v(-8pt)
  text(size: 22pt, weight: "bold", progress.actual)
  v(-10pt)
  box(width: 100%, height: 5pt, radius: 2pt, fill: rule, clip: true, {
    place(rect(width: progress.share * 100%, height: 5pt, fill: accent, stroke: none))
    if progress.planned-share != none {
      place(dx: calc.min(progress.planned-share, 0.995) * 100%, rect(width: 1.2pt, height: 5pt, fill: ink))
    }
  })
  v(-2pt)
  grid(columns: (auto, 1fr), column-gutter: 8pt, row-gutter: 5pt,
    ..progress.lines.map(((name, value)) => (text(size: 8.5pt, fill: quiet, name), text(size: 9pt, value))).flatten())
})
#let stroke-of(series) = (
  paint: if series.financial { money-ink } else if series.actual { accent } else { planned-ink },
  thickness: if series.actual { 2pt } else { 1.2pt },
  dash: if series.actual { "solid" } else { "dashed" },
  cap: "round",
  join: "round",
)
#let chart(c) = layout(size => {
  let (margin, head, foot, tall) = (10mm, 2mm, 8mm, 62mm)
  let wide = size.width - margin - 4mm
  let at(x, y) = (margin + x * wide, head + (1 - y) * tall)
  box(width: size.width, height: head + tall + foot, {
    for percent in (0, 25, 50, 75, 100) {
      let (x, y) = at(0, percent / 100)
      place(line(start: (x, y), end: at(1, percent / 100), stroke: 0.4pt + rule))
      place(dy: y - 3pt, box(width: margin - 2mm, align(end, text(size: 7pt, fill: quiet)[#percent %])))
    }
    for (place-of, label) in c.labels {
      let (x, y) = at(place-of, 0)
      place(line(start: (x, y), end: (x, y + 1mm), stroke: 0.4pt + quiet))
      place(dx: x - 8mm, dy: y + 2mm, box(width: 16mm, align(center, text(size: 7pt, fill: quiet, label))))
    }
    place(line(start: at(c.now, 0), end: at(c.now, 1), stroke: (paint: ink, thickness: 0.6pt, dash: "dotted")))
    for series in c.series {
      let (first, ..rest) = series.points
      place(curve(stroke: stroke-of(series), curve.move(at(..first)), ..rest.map(p => curve.line(at(..p)))))
      if series.actual {
        let (x, y) = at(..series.points.last())
        place(dx: x - 2.2pt, dy: y - 2.2pt, circle(radius: 2.2pt, fill: stroke-of(series).paint, stroke: 0.8pt + white))
      }
    }
  })
  align(center, for series in c.series {
    box(inset: (x: 6pt), {
      box(baseline: -2.5pt, line(length: 7mm, stroke: stroke-of(series)))
      h(4pt)
      text(size: 8pt, series.name)
    })
  })
})
#for notice in data.notices { block(below: 8pt, text(size: 9pt, fill: accent, notice)) }
#grid(columns: (1fr,) * data.cards.len(), column-gutter: 6mm, ..data.cards.map(c => card(c.title, c)))
#if data.money.len() > 0 { v(4pt); facts(data.money) }
#if data.paragraphs.len() > 0 [
  = #data.words.summary
  #set par(justify: true)
  #for paragraph in data.paragraphs { par(paragraph) }
]
#if data.chart != none {
  block(breakable: false, {
    heading(level: 1, data.words.curve)
    chart(data.chart)
  })
  block(breakable: false, sheet(data.curve.names, data.curve.rows, widths: (1fr,) * data.curve.names.len(),
    right: range(1, data.curve.names.len())))
}
#if data.milestones.len() > 0 {
  heading(level: 1, data.words.milestones)
  sheet(data.milestone_names, data.milestones, widths: (1fr, auto, auto, auto, auto))
}
#if data.photos.len() > 0 {
  let rows = data.photos.chunks(2)
  let row(pair) = photos(pair, columns: 2, height: 56mm)
  block(breakable: false, {
    heading(level: 1, data.words.photos)
    row(rows.first())
  })
  for pair in rows.slice(1) { block(above: 6mm, breakable: false, row(pair)) }
}
"""

PHOTOS_TEMPLATE = """
#show: letter
#for notice in data.notices { block(below: 8pt, text(size: 9pt, fill: accent, notice)) }
#for pair in data.photos.chunks(2) {
  block(below: 7mm, breakable: false, photos(pair, columns: 2, height: 62mm))
}
"""


def notice(left_out: int, language: str) -> str:
    """What is said where photos can't be shown any more; nothing where all can."""
    words = PROGRESS_PAPER[language]
    if not left_out:
        return ""
    return words["left_out_one"] if left_out == 1 else words["left_out"].format(count=left_out)


def file_of(photo: PagePhoto) -> str:
    """The name of a photo's file on paper."""
    return f"{photo.document_id}.webp"


def subtitle(page: Page, *, edition: int, published_at: datetime | None, language: str) -> str:
    """The period, and for a correction which edition it is and since when."""
    words = PROGRESS_PAPER[language]
    told = [words["period"].format(first=_day(page.first, language), last=_day(page.last, language))]
    if edition > 1:
        told.append(words["edition"].format(edition=edition))
    if published_at is not None:
        there = published_at.astimezone(ZoneInfo(page.timezone)).date()
        told.append(words["published"].format(at=_day(there, language)))
    return " · ".join(told)


def photos_subtitle(count: int, language: str) -> str:
    """How many photos there are."""
    words = PROGRESS_PAPER[language]
    return words["photos_count_one"] if count == 1 else words["photos_count"].format(count=count)


def report_data(page: Page, *, status: Status, files: Collection[str], language: str) -> dict[str, Any]:
    """What the template of a report sees; `files` are the photos that there are."""
    words = PROGRESS_PAPER[language]
    left_out = notice(sum(file_of(photo) not in files for photo in page.photos), language)
    state = words[status] if status in ("draft", "corrected") else ""
    return {
        "words": words,
        "notices": [told for told in (state, left_out) if told],
        "cards": [
            _card(words[name], progress, page, language)
            for name, progress in (("physical", page.physical), ("financial", page.financial))
            if progress is not None
        ],
        "money": _money(page, language),
        "paragraphs": [line.strip() for line in page.text.splitlines() if line.strip()],
        "chart": _chart(page, language),
        "curve": _table(page, language),
        "milestone_names": [words[n] for n in ("milestone", "planned", "forecast", "actual", "state")],
        "milestones": [_milestone(each, page.last, language) for each in page.milestones],
        "photos": _shown(page.photos, files, page.timezone, language),
    }


def photos_data(photos: Sequence[PagePhoto], *, files: Collection[str], zone: str, language: str) -> dict[str, Any]:
    """What the template of a photo report sees; times are those of the project's zone."""
    left_out = notice(sum(file_of(photo) not in files for photo in photos), language)
    return {"notices": [left_out] if left_out else [], "photos": _shown(photos, files, zone, language)}


def milestone_state(milestone: Milestone, last: date, language: str) -> str:
    """How a milestone stands by a report's last day."""
    words = PROGRESS_PAPER[language]
    if milestone.actual is not None and milestone.actual <= last:
        days = (milestone.actual - milestone.planned).days
        return words["done_late" if days > 1 else "done_late_one"].format(days=days) if days > 0 else words["done"]
    days = ((milestone.forecast or milestone.planned) - milestone.planned).days
    if days > 0:
        return words["delayed" if days > 1 else "delayed_one"].format(days=days)
    return words["due"] if milestone.planned < last else words["on_time"]


def _shown(photos: Sequence[PagePhoto], files: Collection[str], zone: str, language: str) -> list[tuple[str, str]]:
    return [(file_of(each), _caption(each, zone, language)) for each in photos if file_of(each) in files]


def _caption(photo: PagePhoto, zone: str, language: str) -> str:
    at = ""
    if photo.captured_at is not None:
        there = photo.captured_at.astimezone(ZoneInfo(zone))
        at = f"{_day(there.date(), language)}, {there:%H:%M}"
    return " · ".join(told for told in (photo.caption, photo.place, at) if told)


def _card(title: str, progress: Progress, page: Page, language: str) -> dict[str, Any]:
    words = PROGRESS_PAPER[language]
    lines = [(words["planned"], _percent(progress.planned, page, language))]
    if progress.planned is not None and progress.actual is not None:
        off = round(progress.actual - progress.planned, 1)
        points = paper.number_text(abs(off), country=page.country, language=language, decimals=1)
        sign = "+" if off > 0 else "−" if off < 0 else ""
        lines.append((words["deviation"], words["points"].format(value=f"{sign}{points}")))
    return {
        "title": title,
        "actual": _percent(progress.actual, page, language),
        "share": min((progress.actual or 0) / 100, 1),
        "planned-share": None if progress.planned is None else min(progress.planned / 100, 1),
        "lines": lines,
    }


def _money(page: Page, language: str) -> list[tuple[str, str]]:
    if page.money is None:
        return []
    words, money = PROGRESS_PAPER[language], page.money
    rest = None if money.actual is None else money.budget - money.actual
    amounts = (("budget", money.budget), ("planned", money.planned), ("spent", money.actual), ("rest", rest))
    return [
        (words[name], paper.money_text(amount, money.currency, country=page.country, language=language))
        for name, amount in amounts
        if amount is not None
    ]


def _chart(page: Page, language: str) -> dict[str, Any] | None:
    words, days = PROGRESS_PAPER[language], [point.on for point in page.curve]
    if len(days) < 2:
        return None
    begin, length = days[0], (days[-1] - days[0]).days

    def across(day: date) -> float:
        return (day - begin).days / length

    lines: list[dict[str, Any]] = []
    for name in ("financial_planned", "physical_planned", "financial_actual", "physical_actual"):
        points = [(across(p.on), value / 100) for p in page.curve if (value := _value(p, name)) is not None]
        if points:
            actual, financial = name.endswith("actual"), name.startswith("financial")
            top = [(x, min(y, 1.04)) for x, y in points]  # what costs more than planned stays on the paper
            lines.append({"name": words[name], "points": top, "actual": actual, "financial": financial})
    chosen = page.curve[:: 1 + (len(page.curve) - 1) // _MOST_LABELS]
    labels = [(across(p.on), _short(p.on, language, with_day=length < 120)) for p in chosen]
    return {"labels": _apart(labels), "now": across(page.last), "series": lines}


def _apart(labels: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Labels that would stand on each other are left out."""
    kept: list[tuple[float, str]] = []
    for x, label in labels:
        if not kept or (x - kept[-1][0] > 0.06 and label != kept[-1][1]):
            kept.append((x, label))
    return kept


def _value(point: CurvePoint, name: str) -> float | None:
    kind, _, which = name.partition("_")
    progress = point.physical if kind == "physical" else point.financial
    if progress is None:
        return None
    return progress.planned if which == "planned" else progress.actual


def _table(page: Page, language: str) -> dict[str, Any]:
    words = PROGRESS_PAPER[language]
    names = ["physical_planned", "physical_actual"]
    if page.financial is not None:
        names += ["financial_planned", "financial_actual"]
    past = [point for point in page.curve if point.on <= page.last][-_MOST_LINES:]
    rows = [
        [_day(point.on, language), *(_percent(_value(point, name), page, language) for name in names)] for point in past
    ]
    return {"names": [words["date"], *(words[name] for name in names)], "rows": rows}


def _milestone(milestone: Milestone, last: date, language: str) -> list[str]:
    nothing = PROGRESS_PAPER[language]["nothing"]
    days = (milestone.planned, milestone.forecast, milestone.actual)
    told = [nothing if day is None else _day(day, language) for day in days]
    return [milestone.name, *told, milestone_state(milestone, last, language)]


def _percent(value: float | None, page: Page, language: str) -> str:
    if value is None:
        return PROGRESS_PAPER[language]["nothing"]
    return f"{paper.number_text(value, country=page.country, language=language, decimals=1)} %"


def _day(day: date, language: str) -> str:
    return paper.day_text(day, language)


def _short(day: date, language: str, *, with_day: bool) -> str:
    month = paper.month_text(day, language)[:3]
    return f"{day.day} {month}" if with_day else f"{month} {day:%y}"

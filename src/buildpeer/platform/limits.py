"""Limits as data, for rules to name and for a throttle to keep."""

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """At most `quota` tries in `window_s` seconds, by whatever `name` says that it counts."""

    name: str
    quota: int
    window_s: int

"""Who is told what: the live stream of events.

Tables: event_log (written by the relay), event_log_head. Everybody hears of the files they may see, in the order in
which things were committed, from any position on.
"""

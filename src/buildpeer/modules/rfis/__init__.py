"""Requests for information: somebody on site asks, somebody answers, and it is plain at any moment who has to move.

Tables: rfis, rfi_replies, rfi_transitions, rfi_settings. Announces: rfi.changed, rfi.reminded; those of an RFI that
isn't for everybody in the project name in `only_for` whom they are for. An RFI is one row, changed under its lock by
pure rules, and every change of its state or of the ball in court leaves a transition. Numbers are given when it leaves
its draft, without gaps. Tool: rfis.
"""

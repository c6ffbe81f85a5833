"""The functions: SQS batches of bus events in, facts about files out. They never see the database.

`scan` and `derive` are shaped for AWS Lambda; `runner` runs the same handlers on one machine.
"""

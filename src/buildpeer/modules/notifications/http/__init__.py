"""Doors for what is told: a file for each controller."""

from buildpeer.modules.notifications.http.events import EventsController
from buildpeer.modules.notifications.http.webhooks import WebhooksController

__all__ = ["EventsController", "WebhooksController"]

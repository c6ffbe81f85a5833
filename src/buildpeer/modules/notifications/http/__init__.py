"""Doors for what is told: a file for each subject."""

from buildpeer.modules.notifications.http.events import EventsController
from buildpeer.modules.notifications.http.inbox import NoticesController, WishesController
from buildpeer.modules.notifications.http.webhooks import WebhooksController

CONTROLLERS = (EventsController, NoticesController, WishesController, WebhooksController)

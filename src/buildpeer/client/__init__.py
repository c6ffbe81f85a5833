"""The uploader: a small SDK for BuildPeer's HTTP API, and the commands `buildpeer login|logout|push|manifest|watch`.

It stands alone: nothing of the server is imported, so any machine with files to send can have it.
"""

from buildpeer.client.api import Api
from buildpeer.client.errors import ApiError, NetworkError
from buildpeer.client.items import Outcome
from buildpeer.client.push import push

__all__ = ["Api", "ApiError", "NetworkError", "Outcome", "push"]

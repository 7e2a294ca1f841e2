"""What this process serves, by its settings: the same for everything that answers in it.

It is made when this is first imported, which only a process that serves does.
"""

from __future__ import annotations

from latentserve.service.serving import Serving
from latentserve.service.settings import load_settings
from latentserve.service.state import share_state

SERVING = Serving(load_settings())
share_state(SERVING.settings.home)

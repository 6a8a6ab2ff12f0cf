"""Video motion transfer: learn a clip's motion, render it onto new content."""

import logging

# bitsandbytes misses an optional kernel at import and says so on standard error, which is for our own messages.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

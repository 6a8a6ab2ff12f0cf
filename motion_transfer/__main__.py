"""`python -m motion_transfer`."""

import sys

from motion_transfer.cli import main

sys.exit(main())

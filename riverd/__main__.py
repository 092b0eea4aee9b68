"""``python -m riverd``."""

import sys

from riverd.cli import main

sys.exit(main())

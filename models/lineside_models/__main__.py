"""`python -m lineside_models` is `lineside-build`."""

import sys

from lineside_models.cli import main

sys.exit(main())

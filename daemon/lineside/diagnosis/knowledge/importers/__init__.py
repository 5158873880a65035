"""From vendors' files to a knowledge base: everything or nothing. Knows nothing of searching."""

from lineside.diagnosis.knowledge.importers.problems import ImportFailedError
from lineside.diagnosis.knowledge.importers.run import ImportOptions, ImportResult, import_files

__all__ = ["ImportFailedError", "ImportOptions", "ImportResult", "import_files"]

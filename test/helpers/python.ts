import { spawnSync } from 'node:child_process'

/** Whether Python 3.8 or later can be started. Tests that need it are skipped without, and CI installs it. */
export const HAS_PYTHON: boolean =
  spawnSync('python3', ['-c', 'import sys; assert sys.version_info >= (3, 8)']).status === 0

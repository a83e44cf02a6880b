import { spawnSync } from 'node:child_process'
import { installed } from './installed.ts'

const PYTHON = installed({
  name: 'python3',
  debianPackage: 'python3',
  tests: 'the client of the documents in Python, and what is written to a terminal that is closed',
})

/** Whether there is a Python to test with: 3.8 or later. */
export const HAS_PYTHON: boolean =
  PYTHON !== undefined && spawnSync(PYTHON, ['-c', 'import sys; assert sys.version_info >= (3, 8)']).status === 0
if (PYTHON !== undefined && !HAS_PYTHON) console.error(`${PYTHON} is older than 3.8: tests that need it do not run.`)

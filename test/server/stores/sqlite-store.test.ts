import { sqliteHarness } from '../../helpers/sqlite-harness.ts'
import { runStoreSuite } from './run-store-suite.ts'

runStoreSuite('a SQLite file', sqliteHarness)

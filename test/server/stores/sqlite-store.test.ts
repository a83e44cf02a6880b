import { sqliteHarness } from '../../helpers/sqlite-harness.ts'
import { outboxSuite, runStoreSuite } from './run-store-suite.ts'

runStoreSuite('a SQLite file', sqliteHarness)
outboxSuite('a SQLite file', sqliteHarness)

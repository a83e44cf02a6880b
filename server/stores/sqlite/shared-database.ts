import type { Database } from './database.ts'

/** The file of each store: other parts of the package may keep their tables in it. */
const DATABASES = new WeakMap<object, Database>()

/** Lets others find the file of a store. */
export function shareDatabase(store: object, database: Database): void {
  DATABASES.set(store, database)
}

/** The file of a store that `sqlite()` has made. Undefined for any other object. */
export function databaseOf(store: object): Database | undefined {
  return DATABASES.get(store)
}

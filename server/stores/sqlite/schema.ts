import type { Part } from './messages.ts'

/**
 * The tables of runs. `runs` has what never changes, `states` the little that changes with every append: a row is
 * written as a whole. Rows of `batches` come at the end of their table, whatever run they belong to.
 */
export const runsPart: Part = {
  name: 'runs',
  migrations: [
    `
    CREATE TABLE runs (
      n INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      principal TEXT NOT NULL,
      actor TEXT NOT NULL,
      started_at INTEGER NOT NULL,
      meta BLOB,
      packed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX runs_by_principal ON runs (principal, started_at, id);

    CREATE TABLE keys (name TEXT PRIMARY KEY, run TEXT NOT NULL, input TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX keys_by_run ON keys (run);

    -- holder: the opening of the file in which the run was begun or taken over; none: it was given up.
    CREATE TABLE states (
      run INTEGER PRIMARY KEY,
      gen INTEGER NOT NULL,
      next INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      holder INTEGER,
      ended_at INTEGER,
      usage BLOB
    ) STRICT;
    CREATE INDEX states_live ON states (run) WHERE ended_at IS NULL;
    CREATE INDEX states_ended ON states (ended_at, run) WHERE ended_at IS NOT NULL;

    CREATE TABLE lives (
      run INTEGER NOT NULL, gen INTEGER NOT NULL, first INTEGER NOT NULL, PRIMARY KEY (run, gen)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE ends (
      run INTEGER PRIMARY KEY, seq INTEGER NOT NULL, outcome TEXT NOT NULL, packed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE parked (run INTEGER PRIMARY KEY, packed BLOB NOT NULL) STRICT;
    CREATE TABLE inputs (
      n INTEGER PRIMARY KEY, run INTEGER NOT NULL, mid TEXT NOT NULL, type TEXT NOT NULL, packed BLOB NOT NULL,
      UNIQUE (run, mid)
    ) STRICT;

    CREATE TABLE batches (
      n INTEGER PRIMARY KEY,
      run INTEGER NOT NULL,
      first INTEGER NOT NULL,
      last INTEGER NOT NULL,
      gen INTEGER NOT NULL,
      at INTEGER NOT NULL,
      positions BLOB NOT NULL,
      bodies BLOB NOT NULL,
      open BLOB
    ) STRICT;
    CREATE UNIQUE INDEX batches_by_run ON batches (run, first, last);

    -- Runs whose batches are still to be deleted. That takes long, so it is done in slices.
    CREATE TABLE garbage (run INTEGER PRIMARY KEY) STRICT;
    CREATE TRIGGER runs_deleted AFTER DELETE ON runs BEGIN
      INSERT INTO garbage VALUES (old.n);
      DELETE FROM keys WHERE run = old.id;
      DELETE FROM states WHERE run = old.n;
      DELETE FROM lives WHERE run = old.n;
      DELETE FROM ends WHERE run = old.n;
      DELETE FROM parked WHERE run = old.n;
      DELETE FROM inputs WHERE run = old.n;
    END;
    `,
    `
    -- A row may have several batches. bytes: what they added to their run; none: their size.
    ALTER TABLE batches ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE batches ADD COLUMN bytes INTEGER;
    -- What was appended to many runs, and is no row of batches yet: all appends of one message, packed.
    CREATE TABLE tails (n INTEGER PRIMARY KEY, packed BLOB NOT NULL) STRICT;
    `,
    `
    -- Notices that wait to be sent. is_taken: this opening of the file has given it out.
    CREATE TABLE notices (
      n INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      at INTEGER NOT NULL,
      due INTEGER NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0,
      is_taken INTEGER NOT NULL DEFAULT 0,
      body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX notices_due ON notices (due, n);
    `,
  ],
}

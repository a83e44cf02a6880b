import { MillraceError } from '../../protocol/errors.ts'
import type { Database } from '../stores/sqlite/database.ts'
import type { Part, Row, Statement } from '../stores/sqlite/messages.ts'
import { databaseOf } from '../stores/sqlite/shared-database.ts'
import {
  type ConversationKey,
  type ConversationStore,
  type FoundStoredMessage,
  type ListPosition,
  type LoadedMessage,
  type StoredConversation,
  type StoredMessage,
  wordsOf,
} from './conversation-store.ts'

/** The tables of conversations. `words` has what searches compare: the words of each message, apart by spaces. */
const conversationsPart: Part = {
  name: 'conversations',
  migrations: [
    `
    CREATE TABLE conversations (
      owner TEXT NOT NULL,
      id TEXT NOT NULL,
      title TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL,
      version INTEGER NOT NULL,
      data BLOB NOT NULL,
      PRIMARY KEY (owner, id)
    ) STRICT;
    CREATE INDEX conversations_by_time ON conversations (owner, updated_at, id);

    CREATE TABLE messages (
      n INTEGER PRIMARY KEY,
      owner TEXT NOT NULL,
      conversation TEXT NOT NULL,
      id TEXT NOT NULL,
      number INTEGER NOT NULL,
      at INTEGER NOT NULL,
      text TEXT NOT NULL,
      words TEXT NOT NULL,
      data BLOB NOT NULL,
      UNIQUE (owner, conversation, id)
    ) STRICT;
    CREATE VIRTUAL TABLE messages_words USING fts5 (
      words, content = 'messages', content_rowid = 'n', tokenize = 'unicode61 remove_diacritics 0'
    );
    CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
      INSERT INTO messages_words (rowid, words) VALUES (new.n, new.words);
    END;
    CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
      INSERT INTO messages_words (messages_words, rowid, words) VALUES ('delete', old.n, old.words);
    END;
    CREATE TRIGGER messages_changed AFTER UPDATE OF words ON messages WHEN old.words <> new.words BEGIN
      INSERT INTO messages_words (messages_words, rowid, words) VALUES ('delete', old.n, old.words);
      INSERT INTO messages_words (rowid, words) VALUES (new.n, new.words);
    END;
    CREATE TRIGGER conversations_removed AFTER DELETE ON conversations BEGIN
      DELETE FROM messages WHERE owner = old.owner AND conversation = old.id;
    END;
    `,
  ],
}

const FIND = 'SELECT * FROM conversations WHERE owner = ? AND id = ?'
const MESSAGES = 'SELECT id, number AS n, at, data FROM messages WHERE owner = ? AND conversation = ? ORDER BY number'
const BEGIN = `INSERT INTO conversations (owner, id, title, created_at, updated_at, version, data)
  VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
const CHANGE = `UPDATE conversations SET title = ?, created_at = ?, updated_at = ?, version = ?, data = ?
  WHERE owner = ? AND id = ? AND version = ?`
const PUT = `INSERT INTO messages (owner, conversation, id, number, at, text, words, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (owner, conversation, id) DO UPDATE SET text = excluded.text, words = excluded.words, data = excluded.data`
const LIST = `SELECT * FROM conversations WHERE owner = ? AND (updated_at, id) < (?, ?)
  ORDER BY updated_at DESC, id DESC LIMIT ?`
/** Makes one piece of the index: words of removed messages are in it until then. */
export const FORGET_WORDS = "INSERT INTO messages_words (messages_words) VALUES ('optimize')"
const SEARCH = `SELECT m.id, m.at, m.text, m.conversation, c.title FROM messages_words w
  JOIN messages m ON m.n = w.rowid JOIN conversations c ON c.owner = m.owner AND c.id = m.conversation
  WHERE w.words MATCH ? AND m.owner = ? ORDER BY m.at DESC, m.number DESC LIMIT ?`
/** Behind all others: no text comes after it. */
const FIRST: ListPosition = { updatedAt: Number.MAX_SAFE_INTEGER, id: '' }

type ConversationRow = Row & {
  readonly owner: string
  readonly id: string
  readonly title: string
  readonly created_at: number
  readonly updated_at: number
  readonly version: number
  readonly data: Uint8Array
}
type FoundRow = Row & {
  readonly id: string
  readonly at: number
  readonly text: string
  readonly conversation: string
  readonly title: string
}

/**
 * Keeps conversations in the file of a store of runs that `sqlite()` of `millrace/server/sqlite` has made. Call it before
 * the store is opened, which its server does.
 * @throws MillraceError `bad_request` for any other store.
 */
export function sqliteConversations(store: object): ConversationStore {
  const database = databaseOf(store)
  if (!database)
    throw new MillraceError(
      'bad_request',
      'sqliteConversations() takes what sqlite() of millrace/server/sqlite returns',
    )
  return new SqliteConversations(database)
}

class SqliteConversations implements ConversationStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
    database.define(conversationsPart)
  }

  async load({ owner, id }: ConversationKey): ReturnType<ConversationStore['load']> {
    const database = await this.#open()
    const [[row], messages] = await Promise.all([
      database.read<ConversationRow>(FIND, [owner, id]),
      database.read<Row & LoadedMessage>(MESSAGES, [owner, id]),
    ])
    if (!row) return undefined
    return { conversation: fromRow(row), messages }
  }

  async save(
    { owner, id, title, createdAt, updatedAt, version, data }: StoredConversation,
    messages: readonly StoredMessage[],
    expected: number,
  ): Promise<boolean> {
    const condition: Statement =
      expected === 0
        ? { sql: BEGIN, params: [owner, id, title, createdAt, updatedAt, version, data] }
        : { sql: CHANGE, params: [title, createdAt, updatedAt, version, data, owner, id, expected] }
    const puts = messages.map(
      (one): Statement => ({
        sql: PUT,
        params: [owner, id, one.id, one.n, one.at, one.text, wordsOf(one.text).join(' '), one.data],
      }),
    )
    return (await this.#open()).writeIf(condition, puts)
  }

  async remove({ owner, id }: ConversationKey): Promise<boolean> {
    return (
      (await this.#delete({ sql: 'DELETE FROM conversations WHERE owner = ? AND id = ?', params: [owner, id] })) > 0
    )
  }

  async removeAll(owner: string): Promise<number> {
    return this.#delete({ sql: 'DELETE FROM conversations WHERE owner = ?', params: [owner] })
  }

  async count(owner: string): Promise<number> {
    const sql = 'SELECT count(*) AS count FROM conversations WHERE owner = ?'
    const [row] = await (await this.#open()).read<{ count: number }>(sql, [owner])
    return row?.count ?? 0
  }

  async list(owner: string, before: ListPosition = FIRST, most: number): Promise<readonly StoredConversation[]> {
    const rows = await (await this.#open()).read<ConversationRow>(LIST, [owner, before.updatedAt, before.id, most])
    return rows.map(fromRow)
  }

  async search(owner: string, words: readonly string[], most: number): Promise<readonly FoundStoredMessage[]> {
    // The words are letters and digits: none of them can be an operator within quotes.
    const query = words.map((word) => `"${word}"*`).join(' ')
    const rows = await (await this.#open()).read<FoundRow>(SEARCH, [query, owner, most])
    return rows.map(({ conversation: id, title, ...rest }) => ({ ...rest, conversation: { id, title } }))
  }

  async #delete(statement: Statement): Promise<number> {
    const [count = 0] = await (await this.#open()).write([statement])
    return count
  }

  /** The file, which the server of the store of runs has opened, or which is opened now. */
  async #open(): Promise<Database> {
    await this.#database.open()
    return this.#database
  }
}

function fromRow(row: ConversationRow): StoredConversation {
  const { owner, id, title, created_at: createdAt, updated_at: updatedAt, version, data } = row
  return { owner, id, title, createdAt, updatedAt, version, data }
}

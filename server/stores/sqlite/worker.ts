import { parentPort, workerData } from 'node:worker_threads'
import { unpack } from 'msgpackr'
import { failureOf, openFile, type SqliteFile, type SqliteStatement } from './file.ts'
import {
  type NumberedStatement,
  type OpenMessage,
  type Operation,
  type Outcome,
  type Reply,
  type Request,
  type Result,
  type Row,
  resultPackr,
  type WorkMessage,
} from './messages.ts'
import { runsPart } from './schema.ts'
import { Tails } from './tails.ts'

/** The thread that has the file. All that one message asks for is one transaction: one write to the disk. */

const port = parentPort!

class Thread {
  readonly #file: SqliteFile
  readonly #texts: string[] = []
  readonly #statements: SqliteStatement[] = []
  readonly #tails: Tails | undefined

  /** @param hasTails whether the file has the tables of runs. */
  constructor(file: SqliteFile, hasTails: boolean) {
    this.#file = file
    if (hasTails) this.#tails = new Tails(file)
  }

  work([texts, operations]: WorkMessage): Result[] {
    this.#texts.push(...texts)
    const results: Result[] = []
    // What no transaction may have comes alone, between the others.
    for (let from = 0; from < operations.length; ) {
      const isAlone = ({ 0: kind }: Operation): boolean => kind === 'maintain'
      const end = operations.findIndex((each, index) => index >= from && isAlone(each))
      const group = operations.slice(from, end < 0 ? undefined : end)
      results.push(...this.#together(group))
      if (end >= 0) {
        this.#attempt(() => this.#transaction(() => this.#settleAll()))
        results.push(this.#attempt(() => this.#perform(operations[end]!)))
      }
      from = end < 0 ? operations.length : end + 1
    }
    return results
  }

  /** Performs operations in one transaction. When one fails, each gets a transaction of its own. */
  #together(operations: readonly Operation[]): Result[] {
    if (operations.length === 0) return []
    try {
      return this.#transaction(() => operations.map((each) => this.#perform(each)))
    } catch (error) {
      if (operations.length === 1) return [{ failure: failureOf(error) }]
      return operations.map((each) => this.#attempt(() => this.#transaction(() => this.#perform(each))))
    }
  }

  #attempt(perform: () => Outcome): Result {
    try {
      return perform()
    } catch (error) {
      return { failure: failureOf(error) }
    }
  }

  #transaction<T>(perform: () => T): T {
    this.#file.exec('BEGIN IMMEDIATE')
    try {
      this.#tails?.begin()
      const result = perform()
      this.#tails?.write()
      this.#file.exec('COMMIT')
      return result
    } catch (error) {
      this.#tails?.undo()
      // A full disk may have ended the transaction already.
      if (this.#file.inTransaction) this.#file.exec('ROLLBACK')
      throw error
    }
  }

  #perform(operation: Operation): Outcome {
    if (operation[0] === 'append') return this.#tails!.append(operation[1])
    const [kind, statements, unsettled] = operation
    if (unsettled !== undefined) this.#tails?.settle(unsettled)
    switch (kind) {
      case 'read':
      case 'maintain':
        return statements.flatMap((each) => this.#rows(each))
      case 'write':
        return statements.map((each) => this.#change(each))
      case 'writeIf': {
        const [condition, ...rest] = statements
        if (this.#change(condition!) === 0) return false
        for (const each of rest) this.#change(each)
        return true
      }
    }
  }

  #change([text, params]: NumberedStatement): number {
    return this.#statement(text).run(params).changes
  }

  #rows([text, params]: NumberedStatement): Row[] {
    const rows = this.#statement(text).all(params)
    for (const row of rows) {
      // The module gives bytes as an `ArrayBuffer`.
      for (const column in row) if (row[column] instanceof ArrayBuffer) row[column] = new Uint8Array(row[column])
    }
    return rows as Row[]
  }

  #statement(text: number): SqliteStatement {
    this.#statements[text] ??= this.#file.prepare(this.#texts[text]!)
    return this.#statements[text]
  }

  #settleAll(): boolean {
    this.#tails?.settle('all')
    return true
  }

  close(): void {
    try {
      this.#attempt(() => this.#transaction(() => this.#settleAll()))
      this.#file.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } finally {
      this.#file.close()
    }
  }
}

function say(reply: Reply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(reply, transfer)
}

const { path, parts } = workerData as OpenMessage
try {
  const { file, openings } = await openFile(path, parts)
  const thread = new Thread(
    file,
    parts.some(({ name }) => name === runsPart.name),
  )
  port.on('message', (request: Request) => {
    if (request) {
      const packed = new Uint8Array(resultPackr.pack(thread.work(unpack(request) as WorkMessage)))
      say({ type: 'results', packed }, [packed.buffer])
      return
    }
    thread.close()
    say({ type: 'closed' })
    port.close()
  })
  say({ type: 'opened', openings })
} catch (error) {
  say({ type: 'refused', failure: failureOf(error) })
  port.close()
}

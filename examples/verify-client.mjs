// A client as `millrace verify --client 'node examples/verify-client.mjs'` judges it, made with millrace/client.
import { createInterface } from 'node:readline'
import { createClient, MillraceError } from 'millrace/client'

/**
 * Reads the run `script` and does what its texts say. docs/conformance.md has the rules.
 * @param {Partial<import('millrace/client').ClientOptions>} options
 */
export async function judged(options = {}) {
  const { MILLRACE_URL = '', MILLRACE_TOKEN, MILLRACE_CREDIT } = process.env
  const lines = createInterface({ input: process.stdin })
  const client = createClient(MILLRACE_URL, { token: MILLRACE_TOKEN, ...options })
  const run = client.start('script', { for: 'verify' }, { credit: Number(MILLRACE_CREDIT) })
  /** @type {Promise<void>[]} */
  const answers = []
  try {
    for await (const event of run) {
      if (event.type === 'gap') say({ gap: { next: event.next, reason: event.reason } })
      if (event.type !== 'token') continue
      say({ text: event.text })
      if (event.text === '!hold') await new Promise((resolve) => lines.once('line', resolve))
      if (event.text === '!cancel') answers.push(run.cancel().then(sayCancelled))
      if (event.text === '!cancel-call') answers.push(run.cancel({ call: 'c1' }).then(sayCancelled))
      if (event.text === '!send') answers.push(run.send('message', 'hello').then(saySent, sayNotSent))
    }
  } catch {
    // The end says it as well.
  }
  const end = await run.end.catch((error) => ({ outcome: 'error', error }))
  await Promise.all(answers)
  say({ end: end.outcome, code: end.error?.code })
  await client.close()
  lines.close()
}

/** @param {import('millrace/client').CancelResult | import('millrace/client').TargetCancelResult} result */
function sayCancelled(result) {
  say({ cancel: result.confirmed ? result.outcome : result.code })
}

function saySent() {
  say({ sent: 'accepted' })
}

/** @param {unknown} error */
function sayNotSent(error) {
  say({ sent: MillraceError.is(error, 'connection_lost') ? 'unknown' : 'refused' })
}

/** @param {object} line */
function say(line) {
  console.log(JSON.stringify(line))
}

if (process.argv[1] === import.meta.filename) await judged()

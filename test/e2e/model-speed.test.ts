import { describe, expect, test } from 'vitest'
import type { ModelEvent } from '../../server/index.ts'
import { servedAgent } from '../helpers/agent-run.ts'
import { scriptedModel } from '../helpers/scripted-model.ts'

const TOKENS = 10_000
const MB = 1_048_576
/** How fast a model writes that is no slower than people read. */
const PER_SEC = 100

/** A model that writes as fast as it is asked to. */
const fast = (tokens: number) =>
  scriptedModel(async function* (): AsyncGenerator<ModelEvent> {
    for (let n = 0; n < tokens; n++) yield { type: 'text', text: `t${n} ` }
    yield { type: 'usage', input: 1, output: tokens }
    yield { type: 'finish', stop: 'stop' }
  })

function heldBytes(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

// The bounds are what people notice. What this package takes is a hundredth of them, which `npm run bench` measures.
describe('an answer', () => {
  test('begins within half a second of its start', async () => {
    await using served = await servedAgent({ model: fast(1) })
    const startedMs: number[] = []
    for (let n = 0; n < 5; n++) {
      const startedAt = performance.now()
      for await (const { type } of served.client.start('agent', 'go')) {
        if (type !== 'token') continue
        startedMs.push(performance.now() - startedAt)
      }
    }
    expect(startedMs).toHaveLength(5)
    expect(Math.min(...startedMs)).toBeLessThan(500)
  })

  test(`of ${TOKENS.toLocaleString('en')} tokens comes in order, faster than a model writes, and takes little memory and CPU`, async () => {
    await using served = await servedAgent({ model: fast(TOKENS) })
    // What is made once for all answers is there by then.
    await served.client.start('agent', 'go').result
    const before = heldBytes()
    const startedAt = performance.now()
    const cpuBefore = process.cpuUsage()
    let n = 0
    let most = 0
    for await (const event of served.client.start('agent', 'go')) {
      if (event.type !== 'token') continue
      expect(event.text).toBe(`t${n++} `)
      if (n % 1_000 === 0) most = Math.max(most, heldBytes() - before)
    }
    const { user, system } = process.cpuUsage(cpuBefore)
    const cpuMs = (user + system) / 1_000
    const tookMs = performance.now() - startedAt
    console.log(
      `${TOKENS} tokens: ${tookMs.toFixed(0)} ms, ${cpuMs.toFixed(0)} ms of CPU, ${(most / MB).toFixed(1)} MB at most`,
    )
    expect(n).toBe(TOKENS)
    expect((n * 1_000) / tookMs).toBeGreaterThan(PER_SEC)
    expect(most).toBeLessThan(50 * MB)
    // Server, client and collections of garbage together: of one core, while a model writes that fast.
    expect(cpuMs / (n / PER_SEC) / 1_000).toBeLessThan(0.1)
  })
})

test('forty answers at once each come whole and in order', async () => {
  const WORDS = 1_000
  const whole = Array.from({ length: WORDS }, (_, n) => `t${n} `).join('')
  await using served = await servedAgent({ model: fast(WORDS) })
  const texts = Array.from({ length: 40 }, async () => {
    let text = ''
    for await (const event of served.client.start('agent', 'go')) if (event.type === 'token') text += event.text
    return text
  })
  for (const text of await Promise.all(texts)) expect(text).toBe(whole)
})

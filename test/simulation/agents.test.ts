import { describe, expect, test } from 'vitest'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeDown } from '../../protocol/encode.ts'
import type { DownFrame } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { Inputs } from '../../server/inputs.ts'
import { Work } from '../../server/work.ts'
import { AgentWorld } from './agent-world.ts'
import type { Break } from './breaks.ts'
import { type MakeWorld, search } from './seeds.ts'

const SEEDS = 300
/** A broken rule that no seed up to here finds is one that the simulation does not watch. */
const ENOUGH = 200

const agents: MakeWorld = (seed, tamper) => new AgentWorld(seed, tamper)

function patched<Class extends object, Name extends keyof Class>(on: Class, name: Name, by: Class[Name]): Break {
  return {
    patch: () => {
      const original = Object.getOwnPropertyDescriptor(on, name)!
      Object.defineProperty(on, name, { ...original, value: by })
      return () => Object.defineProperty(on, name, original)
    },
  }
}

/** Alters the tool results that a server tells. */
function results(alter: (data: Record<string, unknown>, sid: number) => Record<string, unknown>): Break {
  const scan = { maxBytes: 1e7, maxDepth: DEFAULT_LIMITS.maxDepth, maxValues: 1e6 }
  const altered = (frame: DownFrame): DownFrame =>
    frame.kind === 'event' && frame.type === 4 ? { ...frame, data: alter(frame.data, frame.sid) } : frame
  return { tamper: () => ({ down: (message) => encodeDown(decodeDown(message, scan).map(altered)) }) }
}

describe('agents with tools in virtual time', () => {
  test(`${SEEDS} seeds of scripts, deeds of tools, cancels, approvals and cuts break no rule`, {
    timeout: 120_000,
  }, async () => {
    expect(await search(1, SEEDS, undefined, agents)).toBeUndefined()
  })

  test('a seed replays exactly', async () => {
    const broken = results((data) => ({ ...data, call: 'other' }))
    const first = await search(1, ENOUGH, broken, agents)
    expect(first).toBeDefined()
    expect(await search(first?.seed ?? 0, 1, broken, agents)).toEqual(first)
  })
})

describe('the simulation of agents notices when it no longer holds that', () => {
  const { open } = Work.prototype
  const breaks: Record<string, Break> = {
    'a tool call can be cancelled': patched(Work.prototype, 'stopTool', () => false),
    'a cancel of one call reaches that one': patched(Work.prototype, 'stopTool', () => true),
    'a tool that has finished frees its slot': patched(Work.prototype, 'open', function (this: Work, kind, id, stop) {
      const closed = open.call(this, kind, id, stop)
      return kind === 'tool' ? () => {} : closed
    }),
    'an approval is waited for': patched(Inputs.prototype, 'answerTo', () => Promise.resolve({ ok: true })),
    'a result is of its call': results((data) => ({ ...data, call: 'other' })),
    'all readers see the same': results((data, sid) => (sid % 2 === 0 ? { ...data, ms: -1 } : data)),
    'a receipt says whether the tool has finished': results((data) =>
      data['receipt'] ? { ...data, receipt: { ...data['receipt'], settled: false } } : data,
    ),
  }
  for (const [rule, broken] of Object.entries(breaks)) {
    test(rule, async () => {
      expect(await search(1, ENOUGH, broken, agents)).toMatchObject({ message: expect.any(String) })
    })
  }
})

import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { UpFrame } from '../../protocol/frames.ts'
import { agent, bearer, tool } from '../../server/index.ts'
import { calls, says, scriptedModel } from '../helpers/scripted-model.ts'
import { testServer } from '../helpers/server.ts'
import type { WireClient } from '../helpers/wire-client.ts'

const authenticate = bearer({
  alice: 'alice',
  clerk: { id: 'clerk', rights: ['observe', 'approve'] },
  boss: { id: 'boss', rights: ['observe', 'approve', 'treasurer'] },
  eve: { id: 'eve', rights: ['observe'] },
})

/** An agent that makes one payment a turn. Large ones are for treasurers. */
async function paying(...amounts: number[]) {
  const paid: number[] = []
  const pay = tool({
    description: 'Pays',
    input: z.object({ euros: z.number() }),
    needsApproval: true,
    approvedBy: ({ rights }, { euros }) => euros < 1_000 || rights?.includes('treasurer') === true,
    run: ({ euros }) => {
      paid.push(euros)
      return 'paid'
    },
  })
  const turns = amounts.map((euros, n) => calls({ call: `p${n + 1}`, name: 'pay', args: { euros } }))
  const served = await testServer(
    { agent: agent({ model: scriptedModel(...turns, says('ok')), tools: { pay } }) },
    { authenticate },
  )
  const alice = await served.client()
  alice.start(1, 'agent', 'go')
  const { run } = await alice.next('opened', 1)
  return {
    paid,
    alice,
    errors: served.errors,
    /** Another principal that reads the run as stream 1. */
    async reader(auth: string) {
      const client = await served.client({ auth })
      client.attach(1, run, 0)
      await asked(client, 'p1')
      return client
    },
    async [Symbol.asyncDispose]() {
      await alice[Symbol.asyncDispose]()
      await served[Symbol.asyncDispose]()
    },
  }
}

const approve = (call: string, more: object = {}, mid = `${call} ${JSON.stringify(more)}`): UpFrame => ({
  kind: 'input',
  sid: 1,
  mid,
  type: 'approve',
  data: { call, ok: true, ...more },
})

function asked(client: WireClient, call: string): Promise<void> {
  return client.until(() => dataOf(client).some((data) => data['kind'] === 'approve' && data['call'] === call), call)
}

function dataOf(client: WireClient): { [name: string]: unknown }[] {
  return client.items(1).flatMap(({ data }) => (typeof data === 'object' && data !== null ? [data as never] : []))
}

const resultsOf = (client: WireClient): unknown[] =>
  dataOf(client).filter((data) => 'outcome' in data && 'call' in data)

describe('an approver with little authority', () => {
  test('cannot approve a payment and make it one that is not theirs to approve', async () => {
    await using served = await paying(20)
    await using clerk = await served.reader('clerk')
    clerk.send(approve('p1', { args: { euros: 1_000_000 } }))
    await served.alice.next('end', 1)
    expect(served.paid).toEqual([])
    expect(resultsOf(served.alice)).toMatchObject([
      { outcome: 1, error: 'the approver may not approve the changed arguments' },
    ])
    expect(served.errors).toEqual([])
  })

  test('cannot make a large payment a small one, because the large one is not theirs to answer', async () => {
    await using served = await paying(5_000)
    await using clerk = await served.reader('clerk')
    clerk.send(approve('p1', { args: { euros: 20 } }), approve('p1', { ok: false }))
    expect(await clerk.next('notice')).toMatchObject({ code: 'forbidden' })
    expect(await clerk.next('notice')).toMatchObject({ code: 'forbidden' })
    await using boss = await served.reader('boss')
    boss.send(approve('p1', { args: { euros: 2_000 } }))
    await served.alice.next('end', 1)
    expect(served.paid).toEqual([2_000])
  })

  test('cannot approve later payments that are too large, and its approval covers the small ones', async () => {
    await using served = await paying(20, 30, 5_000, 40)
    await using clerk = await served.reader('clerk')
    await using boss = await served.reader('boss')
    clerk.send(approve('p1', { remember: true }))
    await asked(boss, 'p3')
    clerk.send(approve('p3'))
    expect(await clerk.next('notice')).toMatchObject({ code: 'forbidden' })
    expect(served.paid).toEqual([20, 30])
    boss.send(approve('p3'))
    await served.alice.next('end', 1)
    expect(served.paid).toEqual([20, 30, 5_000, 40])
  })
})

describe('an approval', () => {
  test('that is given twice counts once, and the second is told so', async () => {
    await using served = await paying(20)
    await using clerk = await served.reader('clerk')
    clerk.send(approve('p1', { args: { euros: 1 } }, 'a'), approve('p1', { args: { euros: 2 } }, 'b'))
    expect(await clerk.next('input_ack', 1)).toMatchObject({ mid: 'a', status: 'accepted' })
    expect(await clerk.next('input_ack', 1)).toMatchObject({ mid: 'b', status: 'unwanted' })
    await served.alice.next('end', 1)
    expect(served.paid).toEqual([1])
  })

  test.each([
    ['a cancel', { kind: 'cancel', sid: 1 }],
    ['a guarded stop', { kind: 'input', sid: 1, mid: 's', type: 'stop', data: { ifSeq: 2 ** 40 } }],
  ] as const)('in one message with %s runs nothing, in either order', async (_, stop) => {
    for (const frames of [
      [approve('p1'), stop],
      [stop, approve('p1')],
    ]) {
      await using served = await paying(20)
      await asked(served.alice, 'p1')
      served.alice.send(...frames)
      expect(await served.alice.next('end', 1)).toMatchObject({
        outcome: 'cancelled',
        data: { settled: true, provider: 'none' },
      })
      expect(served.paid).toEqual([])
    }
  })

  test('of somebody who only observes is refused, and so is one before and after its time', async () => {
    await using served = await paying(20)
    served.alice.send(approve('p2', {}, 'early'))
    expect(await served.alice.next('input_ack', 1)).toMatchObject({ mid: 'early', status: 'unwanted' })
    await using eve = await served.reader('eve')
    eve.send(approve('p1'))
    expect(await eve.next('notice')).toMatchObject({ code: 'forbidden' })
    expect(served.paid).toEqual([])
    served.alice.send(approve('p1'))
    await served.alice.next('end', 1)
    expect(served.paid).toEqual([20])
  })
})

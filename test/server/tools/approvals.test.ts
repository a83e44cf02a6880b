import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type ApprovalContext, bearer, type Principal, tool } from '../../../server/index.ts'
import { type ServedAgent, servedAgent, Watched } from '../../helpers/agent-run.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { TcpProxy } from '../../helpers/tcp-proxy.ts'

const wanted = { call: 'p1', name: 'pay', args: { euros: 50 } }

/** An agent that pays, if it may. */
async function paying(
  needsApproval: boolean | ((input: { euros: number }) => boolean | Promise<boolean>) = true,
  options: Parameters<typeof servedAgent>[1] = {},
): Promise<ServedAgent & { paid: number[]; model: ReturnType<typeof scriptedModel> }> {
  const paid: number[] = []
  const pay = tool({
    description: 'Pays',
    input: z.object({ euros: z.number() }),
    needsApproval,
    approvalMs: 1_000,
    run: ({ euros }) => {
      paid.push(euros)
      return 'paid'
    },
  })
  const model = scriptedModel(calls(wanted), says('ok'))
  return Object.assign(await servedAgent({ model, tools: { pay } }, options), { paid, model })
}

describe('a tool that needs approval', () => {
  test('asks the readers of the run, and runs once one of them allows it', async () => {
    await using served = await paying()
    const watched = new Watched(served.client.start('agent', 'go'))
    const request = await watched.first('request')
    expect(request).toMatchObject({
      kind: 'approve',
      call: 'p1',
      prompt: 'Allow pay {"euros":50}?',
      schema: { type: 'object', required: ['ok'] },
      expiresAt: expect.any(Number),
    })
    expect(served.paid).toEqual([])
    expect(await watched.run.send('approve', { call: 'p1', ok: true })).toBe('accepted')
    expect(await watched.over).toBeUndefined()
    expect(served.paid).toEqual([50])
    expect(watched.all('tool.result')).toMatchObject([{ outcome: 'ok', output: 'paid' }])
  })

  test('is allowed by an answer to its request as well', async () => {
    await using served = await paying()
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.first('request')
    await watched.run.send('answer', { request: id, value: true })
    await watched.over
    expect(served.paid).toEqual([50])
  })

  test.each([
    [{ call: 'p1', ok: false, note: 'too much' }, 'refused by the user: too much'],
    [{ call: 'p1', ok: false }, 'refused by the user'],
  ])('does not run when the answer is %j, and the model gets the reason', async (answer, error) => {
    await using served = await paying()
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('request')
    await watched.run.send('approve', answer)
    expect(await watched.over).toBeUndefined()
    expect(served.paid).toEqual([])
    expect(watched.all('tool.result')).toMatchObject([{ outcome: 'error', error }])
    expect(served.model.asked[1]!.at(-1)).toMatchObject({ content: `Error: ${error}` })
    expect(watched.text).toBe('ok')
  })

  test('waits on when an answer says neither yes nor no, which is refused as invalid', async () => {
    await using served = await paying()
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.first('request')
    const invalid = { code: 'invalid_input' }
    await expect(watched.run.send('approve', { call: 'p1', ok: 'yes' })).rejects.toMatchObject(invalid)
    await expect(watched.run.send('approve', { call: 'p1' })).rejects.toMatchObject(invalid)
    await expect(watched.run.send('answer', { request: id, value: 'yes' })).rejects.toMatchObject(invalid)
    expect(served.paid).toEqual([])
    await watched.run.send('approve', { call: 'p1', ok: true })
    await watched.over
    expect(served.paid).toEqual([50])
  })

  test('does not run without an answer in time', async () => {
    const clock = handClock()
    await using served = await paying(true, { runtime: clock })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('request')
    clock.advance(1_000)
    const result = watched.first('tool.result')
    const ticking = setInterval(() => clock.advance(10), 1)
    expect(await result).toMatchObject({
      outcome: 'error',
      error: 'no answer to the request for approval within 1000 ms',
    })
    await watched.over
    clearInterval(ticking)
    expect(served.paid).toEqual([])
  })

  test('asks only where its function says so', async () => {
    for (const [limit, asks] of [
      [20, true],
      [100, false],
    ] as const) {
      await using served = await paying(async ({ euros }) => euros > limit)
      const watched = new Watched(served.client.start('agent', 'go'))
      if (asks) {
        await watched.first('request')
        await watched.run.send('approve', { call: 'p1', ok: true })
      }
      await watched.over
      expect(watched.all('request')).toHaveLength(asks ? 1 : 0)
      expect(served.paid).toEqual([50])
    }
  })

  test('does not ask when the arguments do not fit', async () => {
    await using served = await paying()
    const model = scriptedModel(calls({ ...wanted, args: { euros: 'all' } }), says('ok'))
    const pay = tool({ description: 'x', input: z.object({ euros: z.number() }), needsApproval: true, run: () => 1 })
    await using misled = await servedAgent({ model, tools: { pay } })
    const watched = new Watched(misled.client.start('agent', 'go'))
    await watched.over
    expect(watched.all('request')).toEqual([])
    expect(served.paid).toEqual([])
  })

  test('withdraws its request when its call is cancelled: a late reader is not asked, and a late answer is refused', async () => {
    const other = tool({ description: 'x', needsApproval: true, run: () => 'other' })
    const pay = tool({ description: 'x', needsApproval: true, run: () => 'paid' })
    const model = scriptedModel(calls(wanted, { call: 'o1', name: 'other', args: {} }), says('ok'))
    await using served = await servedAgent({ model, tools: { pay, other } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('request', ({ call }) => call === 'o1')
    expect(await watched.run.cancel({ call: 'p1' })).toMatchObject({ outcome: 'cancelled', settled: true })
    await expect(watched.run.send('approve', { call: 'p1', ok: true })).rejects.toMatchObject({ code: 'not_found' })
    const view = new Watched(served.another().attach('agent', (await watched.run.opened).id, { after: 'live' }))
    expect(await view.first('request')).toMatchObject({ call: 'o1' })
    await view.run.send('approve', { call: 'o1', ok: true })
    await Promise.all([watched.over, view.over])
    expect(view.all('request')).toHaveLength(1)
    expect(watched.all('tool.result')).toMatchObject([
      { call: 'p1', outcome: 'cancelled' },
      { call: 'o1', outcome: 'ok' },
    ])
  })

  test('is stopped with the run while it waits', async () => {
    await using served = await paying()
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('request')
    expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true, tools: ['p1'] })
    expect(served.paid).toEqual([])
    expect(served.server.liveRuns).toBe(0)
  })
})

type ApprovedBy = (principal: Principal, input: { euros: number }, context: ApprovalContext) => boolean

describe('whoever answers a request for approval', () => {
  /** An agent that pays twice, in two turns. */
  async function twice(more: { approvedBy?: ApprovedBy } = {}, options: Parameters<typeof servedAgent>[1] = {}) {
    const paid: number[] = []
    const pay = tool({
      description: 'Pays',
      input: z.object({ euros: z.number() }),
      needsApproval: true,
      ...more,
      run: ({ euros }) => {
        paid.push(euros)
        return 'paid'
      },
    })
    const model = scriptedModel(calls(wanted), calls({ ...wanted, call: 'p2' }), says('ok'), calls(wanted), says('ok'))
    return Object.assign(await servedAgent({ model, tools: { pay } }, options), { paid, model })
  }

  test('may change the arguments, which the schema checks and the model learns', async () => {
    await using served = await paying()
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('request')
    await watched.run.send('approve', { call: 'p1', ok: true, args: { euros: 20 } })
    await watched.over
    expect(served.paid).toEqual([20])
    expect(watched.all('tool.result')).toMatchObject([{ outcome: 'ok', args: { euros: 20 } }])
    expect(served.model.asked[1]?.at(-1)).toMatchObject({
      content: 'The user changed the arguments to {"euros":20}.\npaid',
    })
    expect(served.model.asked[1]?.at(-2)).toMatchObject({ calls: [wanted] })
  })

  test.each([{ euros: 'twenty' }, [20], 'twenty'])(
    'and changes them to what does not fit runs nothing: %j',
    async (args) => {
      await using served = await paying()
      const watched = new Watched(served.client.start('agent', 'go'))
      await watched.first('request')
      await watched.run.send('approve', { call: 'p1', ok: true, args })
      await watched.over
      expect(served.paid).toEqual([])
      expect((await watched.first('tool.result')).error).toMatch(/^invalid arguments: /)
    },
  )

  test('may approve all later calls of the tool in this run, and not in the next', async () => {
    await using served = await twice()
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('request')
    await watched.run.send('approve', { call: 'p1', ok: true, remember: true })
    await watched.over
    expect([served.paid, watched.all('request').length]).toEqual([[50, 50], 1])

    const next = new Watched(served.client.start('agent', 'go'))
    await next.first('request')
    expect(await next.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
  })

  test('and refuses a call is asked again about the next, even if that was to be remembered', async () => {
    await using served = await twice()
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('request')
    await watched.run.send('approve', { call: 'p1', ok: false, remember: true })
    await watched.first('request', ({ call }) => call === 'p2')
    await watched.run.send('approve', { call: 'p2', ok: true })
    await watched.over
    expect(served.paid).toEqual([50])
  })

  test('must be one of those whom the tool accepts, and the request waits for one', async () => {
    const asked: unknown[] = []
    await using served = await twice(
      {
        approvedBy: (principal, input, { call }) => {
          asked.push([principal.id, input, call])
          return principal.id === 'eve'
        },
      },
      { authorize: () => true },
    )
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.run.opened
    const eve = served.another(undefined, 'eve').attach('agent', id)
    await watched.first('request')
    await expect(watched.run.send('approve', { call: 'p1', ok: true })).rejects.toMatchObject({ code: 'forbidden' })
    expect(served.paid).toEqual([])
    expect(await eve.send('approve', { call: 'p1', ok: true, remember: true })).toBe('accepted')
    await watched.over
    expect(served.paid).toEqual([50, 50])
    expect(asked).toEqual([
      ['alice', { euros: 50 }, 'p1'],
      ['eve', { euros: 50 }, 'p1'],
      ['eve', { euros: 50 }, 'p2'],
    ])
  })

  test('may be another principal that has the right to, and nobody else', async () => {
    const authenticate = bearer({
      alice: 'alice',
      bob: { id: 'bob', rights: ['observe'] },
      eve: { id: 'eve', rights: ['observe', 'approve'] },
    })
    await using served = await paying(true, { authenticate })
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.run.opened
    await watched.first('request')
    const [bob, eve] = ['bob', 'eve'].map((name) => served.another(undefined, name).attach('agent', id))
    await expect(bob!.send('approve', { call: 'p1', ok: true })).rejects.toMatchObject({ code: 'forbidden' })
    expect(await eve!.send('approve', { call: 'p1', ok: true })).toBe('accepted')
    await watched.over
    expect(served.paid).toEqual([50])
  })

  test('that comes second learns that somebody has answered before', async () => {
    await using served = await paying()
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.run.opened
    await watched.first('request')
    const other = served.another().attach('agent', id)
    await other.opened
    const [first, second] = await Promise.allSettled([
      watched.run.send('approve', { call: 'p1', ok: true }),
      other.send('approve', { call: 'p1', ok: false }),
    ])
    const [taken, late] = first.status === 'fulfilled' ? [first, second] : [second, first]
    expect(taken).toMatchObject({ value: 'accepted' })
    expect(late).toMatchObject({ reason: { code: 'not_found', message: 'somebody has answered before' } })
    await watched.over
  })

  test('finds the request again after a lost connection', async () => {
    await using served = await paying()
    await using proxy = await TcpProxy.to(Number(new URL(served.url).port))
    const client = served.another(proxy.url)
    const watched = new Watched(client.start('agent', 'go'))
    const { call } = await watched.first('request')
    const { id } = await watched.run.opened
    for (const connection of proxy.connections) connection.cut()
    const back = new Watched(served.another(proxy.url).attach('agent', id, { after: 'start' }))
    expect((await back.first('request')).call).toBe(call)
    expect(await watched.run.send('approve', { call, ok: true })).toBe('accepted')
    await watched.over
    expect(served.paid).toEqual([50])
  })
})

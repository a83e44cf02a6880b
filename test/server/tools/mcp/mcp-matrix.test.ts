import { describe, expect, test } from 'vitest'
import { mcpTools } from '../../../../server/tools/mcp/mcp-tools.ts'
import { type ServedAgent, servedAgent, Watched } from '../../../helpers/agent-run.ts'
import { FakeMcpServer, type McpServerKind } from '../../../helpers/mcp-server.ts'
import { calls, says, scriptedModel } from '../../../helpers/scripted-model.ts'

const slow = { call: 'c1', name: 'fake_slow', args: {} }
const echo = { call: 'c2', name: 'fake_echo', args: { text: 'still here' } }

/** An agent whose model calls the slow tool, and then the quick one. Its server closes the tools. */
async function serve(
  fake: FakeMcpServer,
  model = scriptedModel(calls(slow), calls(echo), says('ok')),
): Promise<ServedAgent> {
  return servedAgent({ model, tools: await mcpTools({ fake: fake.options }) }, { limits: { cancelGraceMs: 300 } })
}

async function waitForCall(fake: FakeMcpServer, served: ServedAgent): Promise<Watched> {
  const watched = new Watched(served.client.start('agent', 'go'))
  await fake.said('called')
  return watched
}

const kinds: McpServerKind[] = ['stdio', 'stateful', 'stateless', 'forgetful']

describe.each(kinds)('a tool of an MCP server (%s)', (kind) => {
  test('reports its progress to the readers of the run, and its output to the model', async () => {
    await using fake = await FakeMcpServer.start(kind)
    await using served = await serve(fake)
    const watched = await waitForCall(fake, served)
    const { progress } = await watched.first('tool.progress')
    expect(progress).toEqual({ current: 1, total: 3, message: 'begun' })
    fake.tell({ type: 'finish' })
    expect(await watched.over).toBeUndefined()
    expect(watched.all('tool.result')).toMatchObject([
      { call: 'c1', outcome: 'ok', output: 'slow and done' },
      { call: 'c2', outcome: 'ok', output: 'still here' },
    ])
  })

  test('fails at once when the server goes away during a call, and works again when the server is back', async () => {
    await using fake = await FakeMcpServer.start(kind)
    await using served = await serve(fake, scriptedModel(calls(slow), says('sorry'), calls(echo), says('ok')))
    const watched = await waitForCall(fake, served)
    await fake.kill()
    const lost = await watched.first('tool.result')
    expect(lost).toMatchObject({ outcome: 'error', error: 'the MCP server fake went away during the call' })
    await watched.over
    if (kind !== 'stdio') await fake.restart()
    const again = new Watched(served.client.start('agent', 'again'))
    await again.over
    expect(again.all('tool.result')).toMatchObject([{ call: 'c2', outcome: 'ok', output: 'still here' }])
  })
})

describe.each(['stdio', 'stateful', 'stateless'] as const)('the cancel of a call of an MCP server (%s)', (kind) => {
  test('reaches the server without the words of the user, and the connection goes on', async () => {
    await using fake = await FakeMcpServer.start(kind)
    await using served = await serve(fake)
    const watched = await waitForCall(fake, served)
    const receipt = await watched.run.cancel({ call: 'c1', note: 'my secret reason' })
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true })
    const { reason } = await fake.said('cancelled')
    expect(reason).not.toContain('secret')
    expect(await watched.over).toBeUndefined()
    expect(watched.all('tool.result').at(-1)).toMatchObject({ call: 'c2', outcome: 'ok', output: 'still here' })
    expect(fake.reports.filter(({ type }) => type === 'started')).toHaveLength(kind === 'stdio' ? 2 : 1)
  })

  test('comes with the cancel of the run, whose receipt is settled', async () => {
    await using fake = await FakeMcpServer.start(kind)
    await using served = await serve(fake)
    const watched = await waitForCall(fake, served)
    expect(await watched.run.cancel()).toMatchObject({ settled: true, unsettled: [], tools: ['c1'] })
    await fake.said('cancelled')
  })
})

describe('the cancel of a call of an MCP server that forgets each request', () => {
  test('is reported as not settled, because it cannot reach the server, and the connection goes on', async () => {
    await using fake = await FakeMcpServer.start('forgetful')
    await using served = await serve(fake)
    const watched = await waitForCall(fake, served)
    expect(await watched.run.cancel({ call: 'c1' })).toMatchObject({ outcome: 'cancelled', settled: false })
    expect(await watched.over).toBeUndefined()
    expect(watched.all('tool.result').at(-1)).toMatchObject({ call: 'c2', outcome: 'ok', output: 'still here' })
    expect(fake.reports.some(({ type }) => type === 'cancelled')).toBe(false)
    fake.tell({ type: 'finish' })
  })

  test('is named in the receipt of the run, which keeps its slot until the server answers', async () => {
    await using fake = await FakeMcpServer.start('forgetful')
    await using served = await serve(fake)
    const watched = await waitForCall(fake, served)
    expect(await watched.run.cancel()).toMatchObject({ settled: false, unsettled: ['c1'], tools: [] })
    expect(served.server.liveRuns).toBe(1)
    fake.tell({ type: 'finish' })
    await expect.poll(() => served.server.liveRuns).toBe(0)
  })
})

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { graph } from '../../server/cli/graph.ts'
import { type PlacedBox, placeColumn, svgOf } from '../../server/cli/graph-svg.ts'
import type { Output } from '../../server/cli/output.ts'
import { agent, supervisorTeam, tool, workflow } from '../../server/index.ts'
import { type Box, boxesOf } from '../../server/workflows/graph.ts'
import { Command } from '../helpers/command.ts'
import { root } from '../helpers/root.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-graph-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the command, and gives what it printed. */
async function printed(...args: string[]): Promise<string> {
  let text = ''
  const output = { answer: async (more: string) => void (text += more) } as unknown as Output
  await graph.run(args, output)
  return text
}

const names = (boxes: readonly Box[]): unknown[] =>
  boxes.map(({ name, look, columns }) => [
    name,
    look,
    ...columns.map(({ label, boxes: inside }) => [label ?? '', ...names(inside)]),
  ])

describe('a picture of a workflow', () => {
  test('has a box for each step, with those inside it', () => {
    const writer = agent({ tools: { look: tool({ description: 'looks', run: () => 1 }) } })
    const inner = workflow({ steps: (flow) => flow.step('deep', () => 1) })
    const all = workflow({
      steps: (flow) =>
        flow
          .step('write', writer, { input: () => 'x' })
          .parallel('both', (b) => ({ a: b.step('one', () => 1), b: b.wait('pause', 1) }))
          .route(
            'way',
            () => 'x',
            (w) => ({ x: w.step('in', inner), else: w.approve('sure') }),
          )
          .loop('again', (l) => l.step('turn', () => 1), { until: () => true })
          .map('each', { over: () => [1], each: (n) => n })
          .map('steps', { over: (value) => value }, (item) => item.step('item', (n) => n))
          .batch('many', { over: () => [1], each: () => {} }),
    })
    const boxes = boxesOf('all', all)
    expect(names(boxes)).toEqual([
      ['write', 'agent'],
      ['both', 'group', ['a', ['one', 'code']], ['b', ['pause', 'wait']]],
      ['way', 'group', ['x', ['in', 'group', ['', ['deep', 'code']]]], ['else', ['sure', 'wait']]],
      ['again', 'group', ['', ['turn', 'code']]],
      ['each', 'code'],
      ['steps', 'group', ['', ['item', 'code']]],
      ['many', 'code'],
    ])
    expect(boxes[0]?.note).toBe('agent with look')
  })

  test('shows the lead of a team and who may take over, and any other actor as one box', () => {
    const member = agent({})
    expect(names(boxesOf('team', supervisorTeam({ members: { a: member, b: member } })))).toEqual([
      ['lead', 'agent'],
      ['hand over', 'group', ['a', ['a', 'agent']], ['b', ['b', 'agent']]],
    ])
    expect(names(boxesOf('chat', member))).toEqual([['chat', 'agent']])
  })

  test('has no boxes that overlap, and each inside its own', () => {
    const leaf = fc.record({ name: fc.string({ maxLength: 60 }), note: fc.string({ maxLength: 60 }) })
    const { box } = fc.letrec<{ box: Box; group: Box }>((tie) => ({
      group: fc.record({
        name: fc.string({ maxLength: 60 }),
        note: fc.string({ maxLength: 9 }),
        look: fc.constant('group' as const),
        columns: fc.array(
          fc.record({
            label: fc.option(fc.string({ maxLength: 70 }), { nil: undefined }),
            boxes: fc.array(tie('box'), { minLength: 1, maxLength: 3 }),
          }),
          { minLength: 1, maxLength: 3 },
        ),
      }),
      box: fc.oneof(
        { depthSize: 'small', maxDepth: 4 },
        leaf.map((l): Box => ({ ...l, look: 'code', columns: [] })),
        tie('group'),
      ),
    }))
    const check = (placed: readonly PlacedBox[], around?: PlacedBox): void => {
      for (const [at, one] of placed.entries()) {
        if (around) {
          expect(one.x).toBeGreaterThanOrEqual(around.x)
          expect(one.y).toBeGreaterThan(around.y)
          expect(one.x + one.width).toBeLessThanOrEqual(around.x + around.width + 0.01)
          expect(one.y + one.height).toBeLessThanOrEqual(around.y + around.height + 0.01)
        }
        for (const other of placed.slice(at + 1)) {
          const apart =
            one.x + one.width <= other.x + 0.01 ||
            other.x + other.width <= one.x + 0.01 ||
            one.y + one.height <= other.y ||
            other.y + other.height <= one.y
          expect(apart).toBe(true)
        }
        check(one.inside, one)
      }
    }
    fc.assert(
      fc.property(fc.array(box, { minLength: 1, maxLength: 4 }), (boxes) => check(placeColumn(boxes, 0, 0, 10_000))),
      { numRuns: 200 },
    )
  })

  test('is well-formed whatever its steps are called', () => {
    const svg = svgOf('<a> & "b"', [{ name: '</text><script>', note: '&', look: 'code', columns: [] }])
    expect(svg).toContain('&lt;/text&gt;&lt;script&gt;')
    expect(svg).not.toContain('<script')
    expect(svg).toContain('<title>&lt;a&gt; &amp; &quot;b&quot;</title>')
  })
})

describe('millrace graph', () => {
  test('prints the picture of a demo actor, or writes it to a file', async () => {
    const svg = await printed('team')
    expect(svg).toMatch(/^<svg [^]*<\/svg>\n$/)
    const out = join(folder, 'team.svg')
    expect(await printed('team', '--out', out)).toBe('')
    expect(readFileSync(out, 'utf8')).toBe(svg)
  })

  test.each(['article', 'research-team'])('draws the picture docs/%s.svg as it is there', async (name) => {
    const args = ['dist/server/cli/main.js', 'graph', name, '--config', 'scripts/pictures.mjs']
    await using command = new Command(process.execPath, args)
    const { code, stdout: svg } = await command.ended
    expect(code).toBe(0)
    expect(svg).toBe(readFileSync(`${root}docs/${name}.svg`, 'utf8'))
  })

  test('says which actors there are, and what cannot be written', async () => {
    await expect(printed('nobody')).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('known actors: chat'),
    })
    await expect(printed('toString')).rejects.toMatchObject({ exitCode: 2 })
    await expect(printed('team', '--out', join(folder, 'none/x.svg'))).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('cannot be written'),
    })
  })
})

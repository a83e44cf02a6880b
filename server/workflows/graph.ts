import type { Actor } from '../actors/actor.ts'
import { loopOf } from '../agents/agent.ts'
import type { FlowNode, FlowNodes, StepBody } from './flow-node.ts'
import { nodesOf } from './sub-workflow.ts'

/** What a drawing of an actor shows: a box, with the boxes inside it. */
export type Box = {
  readonly name: string
  /** What sort of step it is, for people. */
  readonly note: string
  readonly look: 'code' | 'agent' | 'wait' | 'group'
  /** Boxes that follow one another, for each of the ways through it. */
  readonly columns: readonly { readonly label: string | undefined; readonly boxes: readonly Box[] }[]
}

/** The most workflows that are drawn inside each other. */
const MAX_DEPTH = 8

/** The boxes of an actor: the steps of a workflow or of a team, or one box for any other actor. */
export function boxesOf(name: string, actor: Actor): Box[] {
  const nodes = nodesOf(actor)
  return nodes ? boxesOfNodes(nodes, 0) : [actorBox(name, actor, 0)]
}

function boxesOfNodes(nodes: FlowNodes, depth: number): Box[] {
  return nodes.map((node) => boxOf(node, depth))
}

function boxOf(node: FlowNode, depth: number): Box {
  const { name } = node
  const column = (steps: FlowNodes, label?: string) => ({ label, boxes: boxesOfNodes(steps, depth) })
  switch (node.type) {
    case 'step':
      return bodyBox(name, node.body, node.retry ? `at most ${node.retry.attempts} attempts` : '', depth)
    case 'parallel':
      return group(name, 'at the same time', columnsOf(node.branches, column))
    case 'route':
      return group(name, 'one of', columnsOf(node.cases, column))
    case 'loop':
      return group(name, `again, at most ${node.max} times`, [column(node.steps)])
    case 'map': {
      const note = `for each item, ${node.concurrency} at a time`
      if (isNodes(node.each)) return group(name, note, [column(node.each)])
      return leaf(name, note, 'code')
    }
    case 'batch':
      return leaf(name, `for each ${node.chunk} items`, 'code')
    case 'ask':
      return leaf(name, 'waits for an answer', 'wait')
    case 'sleep':
      return leaf(name, 'waits for a time', 'wait')
  }
}

function columnsOf(
  ways: { readonly [name: string]: FlowNodes },
  column: (steps: FlowNodes, label: string) => Box['columns'][number],
): Box['columns'] {
  return Object.entries(ways).map(([label, steps]) => column(steps, label))
}

function bodyBox(name: string, body: StepBody, note: string, depth: number): Box {
  if ('run' in body) return leaf(name, note, 'code')
  const box = actorBox(name, body.actor, depth + 1)
  return { ...box, note: [box.note, note].filter((text) => text !== '').join(', ') }
}

function actorBox(name: string, actor: Actor, depth: number): Box {
  const nodes = nodesOf(actor)
  if (nodes && depth < MAX_DEPTH)
    return group(name, 'workflow', [{ label: undefined, boxes: boxesOfNodes(nodes, depth) }])
  const loop = loopOf(actor)
  if (!loop) return leaf(name, 'actor', 'code')
  const tools = Object.keys(loop.tools)
  return leaf(name, tools.length === 0 ? 'agent' : `agent with ${tools.join(', ')}`, 'agent')
}

function leaf(name: string, note: string, look: Box['look']): Box {
  return { name, note, look, columns: [] }
}

function group(name: string, note: string, columns: Box['columns']): Box {
  return { name, note, look: 'group', columns }
}

function isNodes(each: StepBody | FlowNodes): each is FlowNodes {
  return Array.isArray(each)
}

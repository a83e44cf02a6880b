import type { Part } from '../message-parts.ts'
import type { Message, ToolCall } from '../model.ts'
import { validCall } from '../valid-call.ts'
import type { PartPlace } from './parts.ts'

type Assistant = Extract<Message, { role: 'assistant' }>
type Result = Extract<Message, { role: 'tool' }>

/** A part of a user's message, and where it stands in the request. */
export type PlacedPart = { readonly part: Part; readonly place: PartPlace }
/** What the user's side says between two answers: the results of the calls before it, then text, images and files. */
export type UserTurn = { readonly role: 'user'; readonly results: Result[]; readonly parts: PlacedPart[] }
/** One answer. Its calls are valid, and the turn behind it has their results. */
export type AnswerTurn = { readonly role: 'assistant'; readonly message: Assistant }

/** A conversation for a provider in which user and model strictly alternate, and the user speaks first and last. */
export type Alternation = {
  /** All system messages, in order. Empty: none. */
  readonly system: string
  readonly turns: readonly (UserTurn | AnswerTurn)[]
}

/** What the user says where a provider needs a user's turn and the conversation has none. */
const CONTINUE = 'Continue.'
/** The result of a call that has none. */
const UNANSWERED = 'Error: stopped before it was finished'

/**
 * Turns a conversation into strict alternation. Adjacent user messages become one turn. Answers without text and calls
 * are left out, as are blank user texts: providers refuse them. Two answers in a row, and an answer at the beginning or
 * at the end, get `Continue.` from the user. Every call has exactly one result.
 */
export function alternationOf(messages: readonly Message[]): Alternation {
  const turns: (UserTurn | AnswerTurn)[] = []
  const system: string[] = []
  const userTurn = (): UserTurn => {
    const last = turns.at(-1)
    if (last?.role === 'user') return last
    const turn: UserTurn = { role: 'user', results: [], parts: [] }
    turns.push(turn)
    return turn
  }
  const goOn = (at: number): void => say(userTurn(), [{ type: 'text', text: CONTINUE }], at)
  for (const [at, message] of messages.entries()) {
    switch (message.role) {
      case 'system':
        if (!isBlank(message.content)) system.push(message.content)
        break
      case 'user': {
        const { content } = message
        const parts: readonly Part[] = typeof content === 'string' ? [{ type: 'text', text: content }] : content
        if (parts.some(isSaid)) say(userTurn(), parts, at)
        break
      }
      case 'assistant': {
        const calls = distinct(message.calls ?? []).map(validCall)
        if (isBlank(message.content) && calls.length === 0) break
        if (turns.at(-1)?.role !== 'user') goOn(at)
        turns.push({ role: 'assistant', message: { ...message, calls } })
        if (calls.length > 0)
          userTurn().results.push(...calls.map(({ call, name }) => resultOf(call, name, messages, at)))
        break
      }
      case 'tool':
        break
    }
  }
  if (turns.at(-1)?.role !== 'user') goOn(messages.length)
  return { system: system.join('\n\n'), turns }
}

function resultOf(call: string, name: string, messages: readonly Message[], at: number): Result {
  for (let i = at + 1; messages[i]?.role === 'tool'; i++) {
    const result = messages[i] as Result
    if (result.call === call) return { ...result, name }
  }
  return { role: 'tool', call, name, content: UNANSWERED }
}

/** The first call of each id: a result could not say which of two it is for. */
function distinct(calls: readonly ToolCall[]): ToolCall[] {
  const ids = new Set<string>()
  return calls.filter(({ call }) => !ids.has(call) && ids.add(call))
}

/** Adds the parts of a message, but for blank texts. @param message its place among the messages. */
function say({ parts }: UserTurn, said: readonly Part[], message: number): void {
  for (const [n, part] of said.entries()) if (isSaid(part)) parts.push({ part, place: { message, part: n } })
}

function isSaid(part: Part): boolean {
  return part.type !== 'text' || !isBlank(part.text)
}

function isBlank(text: string): boolean {
  return text.trim() === ''
}

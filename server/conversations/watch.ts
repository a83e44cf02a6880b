import type { ConversationMessage, ConversationPart, ConversationUpdate } from '../../protocol/conversation.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { ActorContext } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import type { ConversationInput } from './conversation-input.ts'
import { type Conversations, permit } from './conversations.ts'
import { factsOf, viewOf } from './message-view.ts'
import type { OpenConversation } from './open-conversation.ts'

/** The most characters of one update. Larger changes take several, so that none delays other streams for long. */
const UPDATE_CHARACTERS = 12_000

/** The event that tells a client of a change. */
export type UpdateEvent = { type: 'data'; name: 'conversation'; value: ConversationUpdate }

type Watched = {
  readonly view: ServerView
  readonly conversations: Conversations
  readonly maxWatchers: number
}

/** Follows a conversation: yields what it is, and then each change. Ends when it is removed, and with the run. */
export async function* watch(
  input: Extract<ConversationInput, { type: 'watch' }>,
  { principal, run, signal, refuseInputs }: ActorContext,
  { view, conversations, maxWatchers }: Watched,
): AsyncGenerator<UpdateEvent, undefined> {
  refuseInputs()
  const key = { owner: input.owner ?? principal.id, id: input.conversation }
  permit(view, principal, 'read', run.actor, key)
  const { conversation, release } = await conversations.open(key, run.id)
  let changed: () => void = () => {}
  const forget = conversation.watch(() => changed())
  try {
    if (conversation.watchers > maxWatchers)
      throw new MillraceError('overloaded', `at most ${maxWatchers} clients may watch one conversation`)
    const { record } = conversation
    const isKnown = record !== undefined && record.createdAt === input.createdAt && record.version >= (input.since ?? 0)
    let since = isKnown ? (input.since ?? 0) : 0
    let isFirst = true
    let facts = ''
    for (;;) {
      const next = new Promise<void>((resolve) => {
        changed = resolve
      })
      const seen = JSON.stringify(factsIn(conversation))
      if (conversation.isRemoved) {
        yield { type: 'data', name: 'conversation', value: { removed: true, version: 0, more: false } }
        return undefined
      }
      if (isFirst || seen !== facts || (conversation.record?.version ?? 0) > since) {
        const version = conversation.record?.version ?? 0
        for (const value of updatesOf(conversation, since, isFirst && !isKnown))
          yield { type: 'data', name: 'conversation', value }
        since = version
        facts = seen
        isFirst = false
      }
      await untilAborted(next, signal)
    }
  } finally {
    forget()
    release()
  }
}

function factsIn({ record, run }: OpenConversation): ConversationUpdate['conversation'] {
  return record && factsOf(record, run)
}

/** All that has changed since a version, in pieces. It is what it is now: changes made meanwhile are told later. */
function* updatesOf(
  conversation: OpenConversation,
  since: number,
  reset: boolean,
): Generator<ConversationUpdate, void> {
  const version = conversation.record?.version ?? 0
  const facts = factsIn(conversation)
  const news = Array.from(conversation.tree.all).filter((message) => message.version > since)
  let messages: ConversationMessage[] = []
  let piece: ConversationUpdate = {
    ...(reset && { reset }),
    ...(facts && { conversation: facts }),
    messages,
    version,
    more: true,
  }
  let room = UPDATE_CHARACTERS
  for (const message of news) {
    const { head, parts } = viewOf(message)
    let own: ConversationPart[] = []
    messages.push(Object.assign(head, { parts: own }))
    room -= HEAD_CHARACTERS
    for (const part of parts.flatMap(piecesOf)) {
      if (room < 0) {
        yield piece
        own = []
        messages = [{ ...head, parts: own }]
        piece = { messages, version, more: true }
        room = UPDATE_CHARACTERS
      }
      own.push(part)
      room -= charactersOf(part)
    }
    if (room >= 0) continue
    yield piece
    messages = []
    piece = { messages, version, more: true }
    room = UPDATE_CHARACTERS
  }
  yield { ...piece, more: false }
}

/** What a message takes besides its parts, and a part besides its text, about. */
const HEAD_CHARACTERS = 200
const PART_CHARACTERS = 25

/** What a part takes, about. */
function charactersOf(part: ConversationPart): number {
  return PART_CHARACTERS + ('text' in part ? part.text.length : JSON.stringify(part).length)
}

/** Long text as several parts of the same type. */
function piecesOf(part: ConversationPart): ConversationPart[] {
  if (!('text' in part) || part.text.length <= UPDATE_CHARACTERS) return [part]
  const pieces: ConversationPart[] = []
  for (let at = 0; at < part.text.length; ) {
    const last = part.text.charCodeAt(at + UPDATE_CHARACTERS - 1)
    const end = at + UPDATE_CHARACTERS - (last >= 0xd800 && last <= 0xdbff ? 1 : 0)
    pieces.push({ ...part, text: part.text.slice(at, end) })
    at = end
  }
  return pieces
}

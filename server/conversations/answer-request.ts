import { MillraceError } from '../../protocol/errors.ts'
import type { Principal } from '../actors/principal.ts'
import { ConversationFiles, type FileRules } from '../agents/client-files.ts'
import { textOf } from '../models/message-parts.ts'
import type { Message } from '../models/model.ts'
import { excerpt } from '../text.ts'
import { type AnswerInput, uploadsIn } from './conversation-input.ts'
import type { conversationLimits } from './conversation-limits.ts'
import { historyOf, type TreeMessage } from './message-tree.ts'
import type { Draft, NewMessage } from './open-conversation.ts'

const TITLE_CHARACTERS = 60

/** What an answer is begun with. */
export type AnswerRequest = {
  readonly input: AnswerInput
  readonly principal: Principal
  readonly owner: string
  /** The id of the run that answers. */
  readonly run: string
  /** The run that answers in this conversation already, if one does. */
  readonly underWay: string | undefined
  /** An id for what is not named by the client. */
  readonly newId: string
  readonly now: number
  readonly files: FileRules
  readonly limits: ReturnType<typeof conversationLimits>
  /** What the server says in place of the user, to go on with an answer. */
  readonly continueWith: string
  /** Whether a client may choose this model. */
  readonly allowsModel: (model: string) => boolean
}

/**
 * Puts the message that is to be answered, and its answer, into a conversation.
 * @returns the answer. Undefined if there is none to give: this was asked before, or the message is only to be stored.
 * @throws MillraceError `not_found` for an unknown message, `invalid_input` for one that has no answer or whose files are
 *   not accepted, `overloaded` for a conversation that is full.
 */
export function beginAnswer(draft: Draft, request: AnswerRequest): TreeMessage | undefined {
  const question = questionOf(draft, request)
  if (question === undefined) return undefined
  const { input, limits, now, run } = request
  const { record, tree } = draft
  if (request.underWay !== undefined) throw underWay(request.underWay)
  const added = question.isNew ? 2 : 1
  if (tree.size + added > limits.maxMessages)
    throw full(`it has ${tree.size} messages, and ${limits.maxMessages} is the most`)
  const size = question.isNew ? sizeOf(question.message.said) : 0
  if ((record?.bytes ?? 0) + size > limits.maxBytes)
    throw full(`its messages may take ${limits.maxBytes} bytes, and they take ${record?.bytes ?? 0}`)
  const isAnswered = input.type !== 'send' || input.answer !== false
  if (question.isNew) draft.put({ ...question.message, ...(!isAnswered && { run }) })
  const { id: parent, said } = question.message
  const title = record?.title || titleOf(said[0])
  if (input.type === 'send' && input.model !== undefined) draft.set({ model: chosenModel(input.model, request) })
  draft.set({ leaf: parent, title, updatedAt: now, ...(!record && { createdAt: now }) })
  if (!isAnswered) return undefined
  draft.put({ id: question.answerId, parent, role: 'assistant', status: 'streaming', at: now, run, said: [] })
  draft.set({ leaf: question.answerId })
  return draft.tree.get(question.answerId)
}

type Question = { readonly message: NewMessage; readonly isNew: boolean; readonly answerId: string }

function questionOf(draft: Draft, request: AnswerRequest): Question | undefined {
  const { input, newId } = request
  const { tree } = draft
  const known = tree.get(input.id)
  switch (input.type) {
    case 'send': {
      if (known && input.answer === false) return undefined
      if (known) return isUnanswered(draft, known) ? { message: known, isNew: false, answerId: newId } : undefined
      const parent = input.parent === undefined ? (draft.record?.leaf ?? null) : input.parent
      if (parent !== null) find(draft, parent)
      return { message: newQuestion(draft, request, parent, input.content), isNew: true, answerId: newId }
    }
    case 'retry': {
      if (known) return undefined
      const message = find(draft, input.message)
      const asked = message.role === 'user' ? message : tree.pathTo(message.id).findLast(({ role }) => role === 'user')
      if (!asked) throw new MillraceError('invalid_input', 'there is no message of a user to answer')
      return { message: asked, isNew: false, answerId: input.id }
    }
    case 'continue': {
      if (known) return isUnanswered(draft, known) ? { message: known, isNew: false, answerId: newId } : undefined
      const answer = find(draft, input.message)
      if (answer.role !== 'assistant')
        throw new MillraceError('invalid_input', 'only an answer can be continued: retry a message of the user')
      const message = newQuestion(draft, request, answer.id, request.continueWith)
      return { message: { ...message, auto: true }, isNew: true, answerId: newId }
    }
  }
}

/** Whether a message of the user that was sent again still has no answer. */
function isUnanswered({ tree }: Draft, message: TreeMessage): boolean {
  if (message.role !== 'user') throw new MillraceError('invalid_input', 'this id is that of another message')
  return tree.childrenOf(message.id).length === 0
}

function newQuestion(
  { tree }: Draft,
  { input, principal, owner, now, files: rules }: AnswerRequest,
  parent: string | null,
  given: Extract<AnswerInput, { type: 'send' }>['content'],
): NewMessage {
  const files = new ConversationFiles(rules, principal)
  try {
    // The files of a branch count together, as the agent counts them.
    files.accept(historyOf(tree.pathTo(parent)).flatMap(({ said }) => [...said]))
    const said: Message[] = [{ role: 'user', content: files.acceptContent(given) }]
    const by = principal.id === owner ? {} : { by: principal.id }
    const uploads = uploadsIn(given)
    const named = uploads.length > 0 ? { uploads } : {}
    return { id: input.id, parent, role: 'user', status: 'sent', at: now, said, ...by, ...named }
  } finally {
    files.release()
  }
}

function find({ tree }: Draft, id: string): TreeMessage {
  const message = tree.get(id)
  if (message) return message
  throw new MillraceError('not_found', 'there is no such message in this conversation')
}

/** Some providers write it this way: `@(openai:gpt-5-mini)`. */
const REFERENCE = /^@\((.+)\)$/

/** The id of a model that a client names. @throws MillraceError `not_found` if it may not be chosen. */
export function chosenModel(
  named: string,
  { allowsModel }: { readonly allowsModel: (model: string) => boolean },
): string {
  const model = REFERENCE.exec(named)?.[1] ?? named
  if (allowsModel(model)) return model
  throw new MillraceError('not_found', 'clients may not choose this model: add it to `models` of conversation()')
}

function titleOf(message: Message | undefined): string {
  const text = message ? textOf(message).trim().replaceAll(/\s+/g, ' ') : ''
  return excerpt(text, TITLE_CHARACTERS)
}

/** The bytes that a message of a user takes, approximately. */
function sizeOf(said: readonly Message[]): number {
  return said.reduce((sum, { content }) => {
    if (typeof content === 'string') return sum + content.length
    return (
      sum + content.reduce((all, part) => all + ('data' in part ? part.data.length : JSON.stringify(part).length), 0)
    )
  }, 0)
}

function full(why: string): MillraceError {
  return new MillraceError('overloaded', `this conversation is full: ${why}. Begin another one`, { retryable: false })
}

function underWay(run: string): MillraceError {
  return new MillraceError(
    'overloaded',
    'an answer of this conversation is under way: send the message to its run, or stop it first',
    { details: { run } },
  )
}

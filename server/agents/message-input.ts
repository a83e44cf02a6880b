import { MillraceError } from '../../protocol/errors.ts'
import type { RunInput } from '../actors/actor.ts'
import type { Message } from '../models/model.ts'
import { clientParts } from './agent-input.ts'
import type { ConversationFiles } from './client-files.ts'
import type { TurnOutput } from './turn.ts'

/** What inputs of a run become: messages of the user, and warnings for the readers about the others. */
export type TakenInputs = { readonly messages: Message[]; readonly warnings: TurnOutput[] }

/** Turns inputs into messages. Images and files that the agent does not accept are a warning: the run goes on. */
export function takeMessages(inputs: readonly RunInput[], files: ConversationFiles): TakenInputs {
  const taken: TakenInputs = { messages: [], warnings: [] }
  for (const { type, data } of inputs) {
    try {
      if (type === 'message') taken.messages.push({ role: 'user', content: contentOf(data, files) })
      else taken.warnings.push(ignored(`an agent ignores inputs of type ${type}; it takes type message`))
    } catch (error) {
      if (!MillraceError.is(error)) throw error
      taken.warnings.push(ignored(`a message was left out: ${error.message}`))
    }
  }
  return taken
}

function contentOf(data: unknown, files: ConversationFiles): Extract<Message, { role: 'user' }>['content'] {
  if (!isParts(data)) return typeof data === 'string' && data !== '' ? data : JSON.stringify(data)
  const { data: parts, error } = clientParts.safeParse(data)
  if (!parts) throw new MillraceError('invalid_input', error.issues[0]?.message ?? 'its parts are not valid')
  return files.acceptContent(parts)
}

/** Whether it is meant as a list of parts, and not as data for the model. */
function isParts(data: unknown): boolean {
  const isPart = (part: unknown): boolean =>
    typeof part === 'object' && part !== null && 'type' in part && PART_TYPES.has(part.type)
  return Array.isArray(data) && data.length > 0 && data.every(isPart)
}

const PART_TYPES: ReadonlySet<unknown> = new Set(['text', 'image', 'file'])

function ignored(message: string): TurnOutput {
  return { type: 'warning', code: 'input_ignored', message }
}

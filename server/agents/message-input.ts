import { MillraceError } from '../../protocol/errors.ts'
import type { RunInput } from '../actors/actor.ts'
import type { Message } from '../models/model.ts'
import { excerpt } from '../text.ts'
import { clientParts } from './agent-input.ts'
import type { ConversationFiles } from './client-files.ts'
import type { TurnOutput } from './turn.ts'

type Warning = Extract<TurnOutput, { type: 'warning' }>

/** What an input of a run becomes: a message of the user, or a warning for the readers. The run goes on in any case. */
export function messageOf({ type, data }: RunInput, files: ConversationFiles): Message | Warning {
  if (!MESSAGE_TYPES.has(type))
    return ignored(`an agent ignores inputs of type ${excerpt(type, QUOTED_CHARACTERS)}; it takes type message`)
  try {
    return { role: 'user', content: contentOf(data, files) }
  } catch (error) {
    if (!MillraceError.is(error)) throw error
    return ignored(`a message was left out: ${error.message}`)
  }
}

/** The most of a type that a warning repeats, in characters. */
const QUOTED_CHARACTERS = 100

const MESSAGE_TYPES: ReadonlySet<string> = new Set(['message', 'message.now', 'message.after'])

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

function ignored(message: string): Warning {
  return { type: 'warning', code: 'input_ignored', message }
}

import { isMap } from '../../protocol/map.ts'
import type { Extra, ModelEvent } from './model.ts'
import { argsOf, callIdIn, objectIn, textIn, type Wire } from './provider/json.ts'

/** Characters of arguments that are an object although they do not end as one, such as `null`. */
const SHORT = 32

/** A call whose pieces arrive. */
type OpenCall = {
  /** The id that the provider gave, or an empty string. */
  given: string
  /** The id under which its arguments are shown. It never changes once some of them are. */
  call: string
  name: string
  text: string
  /** The end of the text, which is not yielded until the name is known. A slice of the text would copy it for each piece. */
  unshown: string
  isShown: boolean
  /** The last character of the text that is no space. */
  last: string
  /** What goes back with the call. */
  extra: Extra | undefined
}

/**
 * Assembles the tool calls of a chat completion from their pieces. By the API, each piece has an index, and the first
 * piece of a call has its id and name. Servers deviate: they number every call 0, or send neither index nor id.
 */
export class CallsInProgress {
  readonly #calls: OpenCall[] = []
  /** The latest call of each index. */
  readonly #byIndex = new Map<unknown, OpenCall>();

  /** Takes the pieces of one delta. Yields the arguments to show. */
  *take(pieces: readonly Wire[]): Generator<Extract<ModelEvent, { type: 'tool.args' }>> {
    const taken = new Set<OpenCall>()
    for (const piece of pieces) {
      const call = this.#callOf(piece, taken)
      taken.add(call)
      const { name } = call
      if (name === '' || call.unshown === '') continue
      const text = call.unshown
      call.unshown = ''
      call.isShown = true
      yield { type: 'tool.args', call: call.call, name, text }
    }
  }

  /** Adds a piece to its call. @param taken the calls that have a piece in the same delta already. */
  #callOf({ index, id, function: called, extra_content: signature }: Wire, taken: ReadonlySet<OpenCall>): OpenCall {
    const { name: named, arguments: args } = objectIn(called)
    const [given, name] = [textIn(id), textIn(named)]
    const text = isMap(args) ? JSON.stringify(args) : textIn(args)
    const before = index == null ? this.#calls.at(-1) : this.#byIndex.get(index)
    const continues =
      before &&
      (continuesByName(before, given, name) ??
        (index == null ? !taken.has(before) && repeatsName(before, name, text) : !isWhole(before)))
    const call = continues ? before : this.#open({ given, name, index })
    call.name ||= name
    if (call.given === '' && given !== '') {
      call.given = given
      if (!call.isShown) call.call = given
    }
    if (signature !== undefined) call.extra = { extra_content: signature }
    call.text += text
    call.unshown += text
    call.last = text.trimEnd().at(-1) ?? call.last
    return call
  }

  /** The calls, in the order in which they began. */
  complete(): Extract<ModelEvent, { type: 'tool.call' }>[] {
    return this.#calls.map(({ call, name, text, extra }) => ({
      type: 'tool.call',
      call,
      name,
      args: argsOf(text),
      ...(extra && { extra }),
    }))
  }

  #open({ given, name, index }: { given: string; name: string; index: unknown }): OpenCall {
    const call: OpenCall = {
      ...{ given, call: callIdIn(given), name, extra: undefined },
      ...{ text: '', unshown: '', isShown: false, last: '' },
    }
    this.#calls.push(call)
    if (index != null) this.#byIndex.set(index, call)
    return call
  }
}

/**
 * Whether a piece without index and id belongs to the last call though it has a name. Some servers repeat the name in
 * every piece, others begin the next call with it, which may be of the same tool.
 */
function repeatsName(call: OpenCall, name: string, text: string): boolean {
  return name === call.name && (call.text === '' ? text !== '' : !isWhole(call))
}

/** Whether a piece continues a call, if its id and name decide that: undefined for a repeated name without an id. */
function continuesByName(call: OpenCall, id: string, name: string): boolean | undefined {
  if (id !== '' && id === call.given) return true
  // A piece without a name has nothing that begins a call, even under a new id.
  if (name === '') return id === '' || call.given === '' || !isWhole(call)
  if (call.name === '') return id === '' || call.given === ''
  return id !== '' && call.given !== '' ? false : undefined
}

/** Whether its arguments are complete. Asked for each piece: only what may be is read. */
function isWhole({ text, last }: OpenCall): boolean {
  return (last === '}' || text.length < SHORT) && isMap(argsOf(text)) && text.trim() !== ''
}

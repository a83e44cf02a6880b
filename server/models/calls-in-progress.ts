import type { Extra, ModelEvent } from './model.ts'
import { argsOf, callIdIn, isWire, objectIn, textIn, type Wire } from './provider/json.ts'

/** A call whose pieces arrive. */
type OpenCall = {
  /** The id that the provider gave, or an empty string. */
  given: string
  call: string
  name: string
  text: string
  /** Length of the text that was yielded: none of it until the name is known. */
  shown: number
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
  readonly #byIndex = new Map<unknown, OpenCall>()

  /** Takes a piece. Returns the arguments to show, if any. */
  add(piece: Wire): Extract<ModelEvent, { type: 'tool.args' }> | undefined {
    const { index, id, function: called, extra_content: signature } = piece
    const { name: named, arguments: args } = objectIn(called)
    const [given, name] = [textIn(id), textIn(named)]
    const before = index == null ? this.#calls.at(-1) : this.#byIndex.get(index)
    const call = before && continues(before, given, name, index != null) ? before : this.#open({ given, name, index })
    call.name ||= name
    if (call.given === '' && given !== '') call.given = call.call = given
    if (signature !== undefined) call.extra = { extra_content: signature }
    call.text += isWire(args) ? JSON.stringify(args) : textIn(args)
    if (call.name === '' || call.shown === call.text.length) return undefined
    const text = call.text.slice(call.shown)
    call.shown = call.text.length
    return { type: 'tool.args', call: call.call, name: call.name, text }
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
    const call: OpenCall = { given, call: callIdIn(given), name, text: '', shown: 0, extra: undefined }
    this.#calls.push(call)
    if (index != null) this.#byIndex.set(index, call)
    return call
  }
}

/** Whether a piece with this id and name belongs to the call that is open at its place. */
function continues(call: OpenCall, id: string, name: string, numbered: boolean): boolean {
  if (id !== '' && id === call.given) return true
  // A piece without a name has nothing that begins a call, even under a new id.
  if (name === '') return id === '' || call.given === '' || !isWhole(call.text)
  if (call.name === '') return id === '' || call.given === ''
  if (id !== '' && call.given !== '') return false
  // A name without an id: some servers repeat it in every piece, others begin the next call with it.
  return call.text === '' ? numbered : !isWhole(call.text)
}

function isWhole(text: string): boolean {
  return isWire(argsOf(text)) && text.trim() !== ''
}

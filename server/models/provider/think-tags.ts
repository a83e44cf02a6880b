import type { ModelEvent } from '../model.ts'

const OPENING = '<think>'
const CLOSING = '</think>'

/** Whether an answer begins with thinking between tags: `'open'` when the model's template has opened the tag already. */
export type ThinkTags = boolean | 'open'

/** Turns the text between `<think>` and `</think>` at the beginning of an answer into thinking. */
export async function* withoutThinkTags(
  events: AsyncIterable<ModelEvent>,
  tags: ThinkTags,
): AsyncGenerator<ModelEvent, void, undefined> {
  const splitter = new Splitter(tags)
  try {
    for await (const event of events) {
      if (event.type === 'text') {
        yield* splitter.push(event.text)
      } else {
        yield* splitter.flush()
        yield event
      }
    }
  } catch (error) {
    yield* splitter.flush()
    throw error
  }
}

/** Where in an answer the next text stands. */
type Place = 'before' | 'thinking' | 'gap' | 'text'

class Splitter {
  #place: Place
  /** Text that may be the beginning of a tag. */
  #held = ''

  constructor(tags: ThinkTags) {
    this.#place = tags === 'open' ? 'thinking' : tags ? 'before' : 'text'
  }

  *push(text: string): Generator<ModelEvent> {
    this.#held += text
    if (this.#place === 'before') {
      const start = this.#held.trimStart()
      if (start.length < OPENING.length && OPENING.startsWith(start)) return
      this.#place = start.startsWith(OPENING) ? 'thinking' : 'text'
      if (this.#place === 'thinking') this.#held = start.slice(OPENING.length)
    }
    if (this.#place === 'thinking') {
      const end = this.#held.indexOf(CLOSING)
      const said = end === -1 ? this.#held.length - lengthOfTagBegun(this.#held) : end
      if (said > 0) yield { type: 'thinking', text: this.#held.slice(0, said) }
      this.#held = this.#held.slice(end === -1 ? said : end + CLOSING.length)
      if (end !== -1) this.#place = 'gap'
    }
    if (this.#place === 'gap') {
      this.#held = this.#held.trimStart()
      if (this.#held !== '') this.#place = 'text'
    }
    if (this.#place === 'text') yield* this.flush()
  }

  /** What is held back turned out to be no tag. */
  *flush(): Generator<ModelEvent> {
    const text = this.#held
    this.#held = ''
    if (text !== '') yield { type: this.#place === 'thinking' ? 'thinking' : 'text', text }
  }
}

/** The length of the beginning of a closing tag at the end of `text`. */
function lengthOfTagBegun(text: string): number {
  let length = Math.min(text.length, CLOSING.length - 1)
  while (length > 0 && !CLOSING.startsWith(text.slice(-length))) length--
  return length
}

import type { ToNode } from './serve-node.ts'

/** How long a node may take for its metrics, in milliseconds. Then the answer is without them. */
const PATIENCE_MS = 2_000

/** A scrape for which some nodes have not answered yet. */
type OpenScrape<Node> = {
  readonly waiting: Set<Node>
  readonly texts: Map<Node, string>
  readonly finish: () => void
}

/** Collects the metrics of all nodes of a machine for the one that was asked for them. */
export class Scrapes<Node> {
  readonly #tell: (node: Node, message: ToNode) => void
  readonly #nodes = new Set<Node>()
  readonly #open = new Map<number, OpenScrape<Node>>()
  #last = 0

  /** @param tell sends a message to a node. */
  constructor(tell: (node: Node, message: ToNode) => void) {
    this.#tell = tell
  }

  /** A node listens, and is asked from now on. */
  add(node: Node): void {
    this.#nodes.add(node)
  }

  /** A node has ended. */
  remove(node: Node): void {
    this.#nodes.delete(node)
    for (const scrape of [...this.#open.keys()]) this.take(node, scrape, undefined)
  }

  /** A node was asked for the metrics of all. @param id how it names that. */
  begin(asked: Node, id: number): void {
    const scrape = ++this.#last
    const waiting = new Set(this.#nodes)
    const texts = new Map<Node, string>()
    const finish = (): void => {
      clearTimeout(late)
      this.#open.delete(scrape)
      const inOrder = [...this.#nodes].flatMap((node) => texts.get(node) ?? [])
      this.#tell(asked, { kind: 'scraped', id, texts: inOrder })
    }
    const late = setTimeout(finish, PATIENCE_MS)
    this.#open.set(scrape, { waiting, texts, finish })
    for (const node of waiting) this.#tell(node, { kind: 'scrape', scrape })
    if (waiting.size === 0) finish()
  }

  /** A node has given its metrics. Undefined: it cannot. */
  take(node: Node, scrape: number, text: string | undefined): void {
    const open = this.#open.get(scrape)
    if (!open?.waiting.delete(node)) return
    if (text !== undefined) open.texts.set(node, text)
    if (open.waiting.size === 0) open.finish()
  }
}

import type { LogEvent } from '../logging/logger.ts'
import type { Metrics, MetricsText, MetricsView, RecordFields } from '../metrics/metrics.ts'

/** The metrics of all nodes of a machine, at whichever of them is asked. */
export class NodeMetrics implements Metrics {
  readonly #own: Metrics
  readonly #ofAll: () => Promise<readonly string[] | undefined>

  /**
   * @param own those of this node.
   * @param ofAll asks all nodes for the text of theirs. Undefined: nobody could ask them, and the answer is what this one has.
   */
  constructor(own: Metrics, ofAll: () => Promise<readonly string[] | undefined>) {
    this.#own = own
    this.#ofAll = ofAll
  }

  begin(view: MetricsView): void {
    this.#own.begin(view)
  }

  record(event: LogEvent, fields: RecordFields): void {
    this.#own.record(event, fields)
  }

  async text(): Promise<MetricsText> {
    const [own, texts] = await Promise.all([this.#own.text(), this.#ofAll()])
    return texts ? { ...own, text: joinedTexts(texts) } : own
  }
}

/** A metric as the format of Prometheus has it: comments that describe it, and its values. */
type Family = { readonly comments: Set<string>; readonly samples: string[] }

/** Joins texts in the format of Prometheus into one that names each metric once. */
export function joinedTexts(texts: readonly string[]): string {
  const families = new Map<string, Family>()
  for (const text of texts) {
    let family: Family | undefined
    for (const line of text.split('\n').filter(Boolean)) {
      const [, name] = /^# (?:HELP|TYPE) (\S+)/.exec(line) ?? []
      if (name === undefined) {
        family?.samples.push(line)
        continue
      }
      family = families.get(name) ?? { comments: new Set(), samples: [] }
      family.comments.add(line)
      families.set(name, family)
    }
  }
  const lines = [...families.values()].flatMap(({ comments, samples }) => [...comments, ...samples])
  return lines.map((line) => `${line}\n`).join('')
}

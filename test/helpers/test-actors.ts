import { type Actor, type ActorContext, actor } from '../../server/actors/actor.ts'

/** Items each run of `counted` has produced, by the order of their beginning. */
export type Produced = { count: number; aborted: boolean }

/** Says `1 `, `2 `, ... up to its input; counts what was asked of it. */
export function counter(): Actor<number> & { readonly runs: Produced[] } {
  const runs: Produced[] = []
  const made = actor({
    async *stream(input: unknown, { signal }: ActorContext) {
      const produced: Produced = { count: 0, aborted: false }
      runs.push(produced)
      signal.addEventListener('abort', () => (produced.aborted = true), { once: true })
      for (let n = 1; n <= Number(input); n++) {
        produced.count = n
        yield `${n} `
      }
    },
  })
  return Object.assign(made as Actor<number>, { runs })
}

/** Says nothing until it is stopped. */
export function silent(): Actor {
  return actor({
    async *stream(_: unknown, { signal }: ActorContext) {
      await aborted(signal)
      yield* []
    },
  })
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

export type Latch = { readonly opened: Promise<void>; open(): void }

/** A promise that the test resolves. */
export function latch(): Latch {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open: () => open() }
}

/** The text that `counter` says for `from` to `to`. */
export function counted(from: number, to: number): string {
  let text = ''
  for (let n = from; n <= to; n++) text += `${n} `
  return text
}

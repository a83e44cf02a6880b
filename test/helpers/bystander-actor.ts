import { type Actor, actor } from '../../server/actors/actor.ts'

/** Says `1 `, `2 `, ... a little at a time, until it is cancelled: what a bystander reads. */
export function ticker(): Actor {
  return actor({
    async *stream(_: unknown, { signal }) {
      for (let n = 1; !signal.aborted; n++) {
        yield `${n} `
        if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
  })
}

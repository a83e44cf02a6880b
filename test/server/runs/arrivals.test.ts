import { describe, expect, test } from 'vitest'
import { Arrivals } from '../../../server/runs/arrivals.ts'

/** Takers that note what is asked of them: `?` for a touch, and the step for what they take. */
function noting() {
  const noted: string[] = []
  const arrivals = new Arrivals<string>()
  const come = (step: string, then = (): void => {}): void =>
    arrivals.add(
      {
        touch: () => noted.push(`${step}?`),
        take(taken) {
          noted.push(taken)
          then()
        },
      },
      step,
    )
  return { come, noted, settled: () => new Promise((resolve) => setImmediate(resolve)) }
}

describe('steps that come in one moment', () => {
  test('are taken in the order in which they came, each few of them behind a touch of all that they need', async () => {
    const { come, noted, settled } = noting()
    for (const step of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']) come(step)
    expect(noted, 'in this microtask').toEqual([])
    await settled()
    const first = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    expect(noted).toEqual([...first.map((step) => `${step}?`), ...first, 'i?', 'j?', 'i', 'j'])
  })

  test('are taken behind the last of them, and one alone is not touched before', async () => {
    const { come, noted, settled } = noting()
    come('a')
    await settled()
    expect(noted).toEqual(['a'])
    await Promise.all([Promise.resolve().then(() => come('b')), Promise.resolve().then(() => come('c'))])
    await settled()
    expect(noted).toEqual(['a', 'b?', 'c?', 'b', 'c'])
  })

  test('are taken behind those that came before, if one comes while another is taken', async () => {
    const { come, noted, settled } = noting()
    come('a', () => come('later'))
    come('b')
    await settled()
    expect(noted).toEqual(['a?', 'b?', 'a', 'b', 'later'])
  })
})

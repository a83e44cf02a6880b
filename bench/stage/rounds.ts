/** What was measured of each, round by round, and why some were given up. */
export type Rounds<Name extends string, Sample> = {
  samples: Map<Name, Sample[]>
  failures: Map<Name, string>
}

/**
 * Measures A B C A B C ..., so that what else the machine does meets all of them. The first round only warms up, where
 * there are several. A peer that fails once is measured no more, and its earlier figures do not count.
 */
export async function interleaved<Name extends string, Sample>(
  names: readonly Name[],
  rounds: number,
  measure: (name: Name) => Promise<Sample>,
  say: (words: string) => void,
): Promise<Rounds<Name, Sample>> {
  const samples = new Map<Name, Sample[]>(names.map((name) => [name, []]))
  const failures = new Map<Name, string>()
  const warmUps = rounds > 1 ? 1 : 0
  for (let round = 0; round < rounds + warmUps; round++) {
    for (const name of names) {
      if (failures.has(name)) continue
      say(`${round < warmUps ? 'warm-up' : `round ${round - warmUps + 1} of ${rounds}`}: ${name}`)
      try {
        const sample = await measure(name)
        if (round >= warmUps) samples.get(name)!.push(sample)
      } catch (error) {
        failures.set(name, error instanceof Error ? error.message : String(error))
        samples.set(name, [])
      }
    }
  }
  return { samples, failures }
}

/** The rounds as plain data. */
export function recorded<Name extends string, Sample>({ samples, failures }: Rounds<Name, Sample>): object {
  return { samples: Object.fromEntries(samples), failures: Object.fromEntries(failures) }
}

/** One figure of each round. */
export function figuresOf<Name extends string, Sample>(
  { samples }: Rounds<Name, Sample>,
  name: Name,
  figure: (sample: Sample) => number,
): number[] {
  return (samples.get(name) ?? []).map(figure)
}

/** What failed, one line each. */
export function failureNotes({ failures }: Rounds<string, unknown>): string[] {
  return [...failures].map(([name, why]) => `${name} failed, and has no figures: ${why}`)
}

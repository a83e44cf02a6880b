import { z } from 'zod'
import { type ToolMap, tool } from '../actors/tool.ts'
import { wait } from '../streams/wait.ts'

const SKIES = ['sunny', 'cloudy', 'raining', 'snowing', 'foggy'] as const
const STEPS = ['looking for sources', 'reading', 'reading on', 'comparing', 'summing up'] as const

/** The tools of the demo actor `assistant`. They reach nothing outside this process. */
export const demoTools: ToolMap = {
  weather: tool({
    description: 'The weather in a city now.',
    input: z.object({ city: z.string().min(1) }),
    async run({ city }, { signal }) {
      await wait(600, signal)
      const chance = Array.from(city).reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 9_973, 7)
      return { city, sky: SKIES[chance % SKIES.length]!, celsius: (chance % 35) - 5 }
    },
  }),

  research: tool({
    description: 'Researches a subject thoroughly. Takes 5 seconds.',
    input: z.object({ subject: z.string().min(1) }),
    async *run({ subject }, { signal }) {
      for (const [done, step] of STEPS.entries()) {
        yield { current: done, total: STEPS.length, message: step }
        await wait(1_000, signal)
      }
      return `${subject}: nothing is known about it offline`
    },
  }),

  mail: tool({
    description: 'Sends a mail to a person.',
    input: z.object({ to: z.string().min(1) }),
    needsApproval: true,
    run: ({ to }) => `nothing was sent to ${to}: this is a demo`,
  }),
}

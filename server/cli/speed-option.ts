import { EXIT, Failure } from './exit.ts'

/** The option of every command that replays. */
export const speedOption = {
  speed: {
    type: 'string',
    value: 'N',
    about: 'How many times as fast as it was recorded: 0.01 to 1000, or max. Default 1.',
  },
} as const

/** Parses `--speed`. @throws Failure that names the allowed range. */
export function readSpeed(text = '1'): number {
  if (text === 'max') return Number.POSITIVE_INFINITY
  const speed = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (speed >= 0.01 && speed <= 1_000) return speed
  throw new Failure(EXIT.usage, `--speed takes a number from 0.01 to 1000, or max, not ${text}`)
}

import type { Pace } from '../processes/token-source.ts'
import { pass } from './clock.ts'
import type { Pair } from './stage.ts'

const ENDLESS = 1_000_000_000

/** `settleMs`: until streams are in step and code is compiled. Before, a token costs up to half as much again. */
export type WindowTimes = { readonly settleMs: number; readonly windowMs: number }

/** Streams that go on until the window is over. */
export type WindowStreams = {
  readonly connections: number
  readonly perConnection: number
  readonly request: { readonly id: string; readonly pace: Pace }
}

/**
 * Measures a server and its clients for a time in the middle of their streams.
 * @returns What each spent in that time, how late its tokens were, and how many tokens the streams had in all.
 * @throws Error if a token was lost.
 */
export async function measureWindow(
  { server, client }: Pick<Pair, 'server' | 'client'>,
  { connections, perConnection, request }: WindowStreams,
  { settleMs, windowMs }: WindowTimes,
) {
  const before = await server.ask('totalProduced')
  await client.ask('read', { perConnection, request: { ...request, tokens: ENDLESS, gated: true } })
  await server.ask('gathered', connections * perConnection)
  await server.ask('open')
  await pass(settleMs)
  await client.ask('latencies')
  await server.ask('begin')
  await client.ask('begin')
  await pass(windowMs)
  const spent = await server.ask('spent')
  const ofClient = await client.ask('spent')
  const latencies = await client.ask('latencies')
  await server.ask('endAll')
  const { tokens } = await client.ask('finished')
  const made = (await server.ask('totalProduced')) - before
  if (tokens !== made) throw new Error(`${tokens} of ${made} tokens arrived`)
  return { spent, ofClient, latencies, made }
}

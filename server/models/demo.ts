import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { wait } from '../streams/wait.ts'
import { demoCalls } from './demo-calls.ts'
import { bareType, filesOf, textOf } from './message-parts.ts'
import type { Message, Model, ModelEvent, ModelRequest, StopReason, ToolCall } from './model.ts'
import { type SettingName, unsupportedSettings } from './model-settings.ts'

export type DemoOptions = {
  /** Speed, in tokens per second. `Infinity` never waits. Default 30. */
  tokensPerSec?: number | undefined
  /** Varies the answer: another seed gives another answer to the same prompt. Default 0. */
  seed?: number | undefined
  /** The timer of its waits. Default: the real one. */
  runtime?: Pick<Runtime, 'setTimer'> | undefined
}

const OPTIONS: OptionKinds<DemoOptions> = { tokensPerSec: 'a number', seed: 'a number', runtime: 'an object' }

/**
 * Makes a model that needs no provider, no key and no network. The same prompt gets the same tokens, at a visible pace.
 * It calls each tool that the question mentions by name ("weather in Oslo, Rome and Lima": three calls), and then
 * reports the results. It names the images and files that it was sent. It yields thinking before a tool call, and when
 * the prompt asks it to think. It reports its real token counts and stops at `maxTokens`. It has the settings
 * `maxTokens`, `seed` and `toolChoice: 'none'`.
 * @throws MillraceError `bad_request` for an unknown option, and when `tokensPerSec` is not above 0.
 */
export function demo(options: DemoOptions = {}): Model {
  checkOptions('demo()', options, OPTIONS)
  const { tokensPerSec = 30, seed = 0, runtime } = options
  if (!(tokensPerSec > 0)) {
    throw new MillraceError('bad_request', 'the demo model needs `tokensPerSec` above 0; Infinity means no waits')
  }
  return {
    id: 'demo',
    provider: 'demo',
    async *stream(request) {
      const { signal } = request
      const msPerToken = 1000 / tokensPerSec
      let owedMs = 0
      signal.throwIfAborted()
      for (const warning of unsupportedSettings('the demo model', unsupportedIn(request))) yield warning
      for (const event of compose(request, request.seed ?? seed)) {
        signal.throwIfAborted()
        if (event.type === 'text' || event.type === 'thinking' || event.type === 'tool.args') owedMs += msPerToken
        // A timer is no finer than 1 ms: shorter waits add up until they reach it.
        if (owedMs >= 1) {
          await wait(owedMs, signal, runtime)
          owedMs = 0
        }
        yield event
      }
    },
  }
}

/** It has no chances to take and no choices to make. */
function unsupportedIn(request: ModelRequest): SettingName[] {
  const { tools = [], toolChoice, parallelToolCalls } = request
  const names: SettingName[] = (['temperature', 'topP', 'stop', 'effort'] as const).filter((name) => name in request)
  if (tools.length > 0 && (toolChoice === 'required' || typeof toolChoice === 'object')) names.push('toolChoice')
  if (tools.length > 0 && parallelToolCalls === false) names.push('parallelToolCalls')
  return names
}

/** The whole answer, one event per token. */
function compose(request: ModelRequest, seed: number): ModelEvent[] {
  const { messages, tools = [], maxTokens = Number.POSITIVE_INFINITY } = request
  const asked = messages.findLastIndex(({ role }) => role === 'user')
  const question = asked === -1 ? '' : textOf(messages[asked]!)
  const answers = messages.slice(asked + 1).filter((message) => message.role === 'tool')
  const callsBefore = messages.filter(({ role }) => role === 'tool').length
  const mayCall = answers.length === 0 && request.toolChoice !== 'none'
  const calls = mayCall ? demoCalls(question, tools, callsBefore) : []
  const text =
    calls.length > 0
      ? ''
      : answers.length > 0
        ? reportOf(answers)
        : `${filesIn(messages[asked])}${answerTo(subjectOf(question), seed)}`
  const all: ModelEvent[] = [
    ...tokensOf(thoughtsOf(question, calls)).map((token): ModelEvent => ({ type: 'thinking', text: token })),
    ...tokensOf(text).map((token): ModelEvent => ({ type: 'text', text: token })),
    ...calls.flatMap(({ call, name, args }) =>
      tokensOf(JSON.stringify(args)).map((token): ModelEvent => ({ type: 'tool.args', call, name, text: token })),
    ),
  ]
  const kept = all.slice(0, maxTokens)
  const cut = kept.length < all.length
  const stop: StopReason = cut ? 'length' : calls.length > 0 ? 'tool_calls' : 'stop'
  const input = messages.reduce((sum, message) => sum + tokensOf(textOf(message)).length, 0)
  return [
    ...kept,
    ...(cut ? [] : calls.map((call): ModelEvent => ({ type: 'tool.call', ...call }))),
    { type: 'usage', input, output: kept.length },
    { type: 'finish', stop },
  ]
}

function thoughtsOf(question: string, calls: readonly ToolCall[]): string {
  const names = [...new Set(calls.map(({ name }) => name))]
  if (names.length > 0) return `This is about ${names.join(' and ')}: I have a tool for that. `
  return /\bthink/i.test(question) ? 'You asked me to think, and now I have thought. ' : ''
}

/** An answer that reports the results of the tools. */
function reportOf(answers: readonly Extract<Message, { role: 'tool' }>[]): string {
  const reports = answers.map(({ name, content }) =>
    content.startsWith('Error: ') ? `${name} did not work: ${content.slice(7)}.` : `${name} says: ${content}.`,
  )
  return [...reports, 'That is all I was asked for.'].join(' ')
}

const OPENINGS = [
  (subject: string) => `You asked: “${subject}”.`,
  (subject: string) => `“${subject}”, you say.`,
  (subject: string) => `About “${subject}”:`,
] as const

const SENTENCES = [
  'I am the demo model: I run offline and say the same thing whenever I am asked the same thing.',
  'millrace carries these words to you one token at a time, over a single WebSocket.',
  'Cancel me, and the cancel travels up to the producer. It closes the socket of a real provider, and a receipt reports what was stopped and what it cost.',
  'Stop reading, and I wait: the server sends nothing beyond the credit that you granted.',
  'Lose the connection and come back, and every token is still there, each exactly once.',
] as const

const CLOSING = 'To talk to a real model, start the server with --model ollama:NAME or --model openai:NAME.'

function answerTo(subject: string, seed: number): string {
  const chance = hash(`${seed} ${subject}`)
  const opening = OPENINGS[chance % OPENINGS.length]!(subject)
  const first = chance % SENTENCES.length
  const body = [...SENTENCES.slice(first), ...SENTENCES.slice(0, first)].slice(0, 4)
  return [opening, ...body, CLOSING].join(' ')
}

/** What it was sent besides text; empty for nothing. */
function filesIn(message: Message | undefined): string {
  const files = message ? filesOf(message) : []
  const names = files.map((file) => {
    if ('url' in file) return 'an image by its address'
    const name = file.type === 'file' && file.name !== undefined ? `${file.name}, ` : ''
    return `${name}${bareType(file.mediaType)} of ${file.data.length.toLocaleString('en')} bytes`
  })
  return names.length === 0 ? '' : `You sent me ${names.join(' and ')}. `
}

/** The subject of a question: its first 80 characters, on one line. */
function subjectOf(question: string): string {
  const line = question.replaceAll(/\s+/g, ' ').trim()
  if (line === '') return 'nothing'
  return /^.{81}/u.test(line) ? `${/^.{79}/u.exec(line)![0]}…` : line
}

/** Cuts text where a tokenizer might: at spaces and within long words. The joined tokens are the text. */
function tokensOf(text: string): string[] {
  return text.match(/\s*\S{1,7}|\s+$/gu) ?? []
}

/** FNV-1a, 32 bits: the same on every machine. */
function hash(text: string): number {
  let sum = 0x811c9dc5
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193)
  return sum >>> 0
}

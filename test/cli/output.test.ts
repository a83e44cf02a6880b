import { EventEmitter } from 'node:events'
import { describe, expect, test } from 'vitest'
import { onInterrupt } from '../../server/cli/interrupts.ts'
import { Output } from '../../server/cli/output.ts'
import { FakeSink, screen } from '../helpers/screen.ts'

const ESC = '\u001b'
const WIPE = `\r${ESC}[K`

describe('output into pipes', () => {
  test('has the answer as it is, and notes and errors as plain lines', async () => {
    const { output, stdout, stderr } = screen()
    output.busy('waiting')
    await output.answer(`one${ESC}[31m`)
    output.note('a note\nof two lines')
    await output.answer(' two')
    output.fail('it failed')
    await output.endAnswer()
    expect(stdout.text).toBe(`one${ESC}[31m two\n`)
    expect(stderr.text).toBe('a note of two lines\nmillrace: it failed\n')
  })
})

describe('output on a terminal', () => {
  const terminal = { stdout: true, stderr: true }

  test('has dimmed notes and coloured errors', () => {
    const { output, stderr } = screen(terminal)
    output.note('a note')
    output.fail('it failed')
    expect(stderr.text).toBe(`${WIPE}${ESC}[2ma note${ESC}[0m\n${WIPE}${ESC}[31mmillrace:${ESC}[0m it failed\n`)
  })

  test.each([{ NO_COLOR: '1' }, { TERM: 'dumb' }])('has no colours with %o', (env) => {
    const { output, stderr } = screen({ ...terminal, env })
    output.note('a note')
    expect(stderr.text.replace(WIPE, '')).toBe('a note\n')
  })

  test('shows something that moves until the answer begins', async () => {
    const { output, stdout, stderr } = screen(terminal)
    output.busy('waiting')
    expect(stderr.text).toMatch(/⠋ waiting/)
    await output.answer('one')
    expect(stderr.text.endsWith(WIPE)).toBe(true)
    expect(stdout.text).toBe('one')
  })

  test('gives a note in the middle of a line of the answer a line of its own', async () => {
    const { output, stderr } = screen({ ...terminal, env: { NO_COLOR: '1' } })
    await output.answer('one')
    output.note('a note')
    await output.answer('two\n')
    output.note('another')
    expect(stderr.text.replaceAll(WIPE, '')).toBe('\na note\nanother\n')
  })

  test('keeps thinking in its line, and begins the answer behind it', async () => {
    const { output, stderr } = screen({ ...terminal, env: { NO_COLOR: '1' } })
    output.aside('let me ')
    output.aside('see')
    await output.answer('yes')
    expect(stderr.text).toBe('let me see\n')
  })

  test('shows control characters, so that an answer cannot steer the terminal', async () => {
    const { output, stdout } = screen(terminal)
    await output.answer(`a${ESC}[2J\u0007b\u009b1mc\r\nd\te\rf`)
    expect(stdout.text).toBe('a␛[2J␇b␡1mc\r\nd\te␍f')
  })
})

test('an answer waits while its reader is slow', async () => {
  const events = new EventEmitter()
  const slow = Object.assign(events, { write: () => false })
  const output = new Output(slow, new FakeSink(false), {})
  let isWritten = false
  const written = output.answer('one').then(() => {
    isWritten = true
  })
  await new Promise(setImmediate)
  expect(isWritten).toBe(false)
  events.emit('drain')
  await written
})

test('output ignores a reader that has left, and does not wait for it', async () => {
  const events = new EventEmitter()
  const gone = Object.assign(events, { write: () => false })
  const output = new Output(gone, new FakeSink(false), {})
  const written = output.answer('one')
  events.emit('error', new Error('EPIPE'))
  await written
  expect(output.gone.aborted).toBe(true)
  await output.answer('two')
  await output.written()
})

describe('Ctrl-C', () => {
  function pressedTwice(env: Record<string, string>): number[] {
    const source = Object.assign(new EventEmitter(), { env })
    const presses: number[] = []
    const forget = onInterrupt((times) => presses.push(times), source)
    source.emit('SIGINT')
    source.emit('SIGINT')
    forget()
    source.emit('SIGINT')
    return presses
  }

  test('counts each press', () => {
    expect(pressedTwice({})).toEqual([1, 2])
  })

  test('counts as one press when npm sends it a second time', () => {
    expect(pressedTwice({ npm_lifecycle_event: 'start' })).toEqual([1])
  })
})

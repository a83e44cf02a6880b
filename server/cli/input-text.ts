import { text as readAll } from 'node:stream/consumers'

/** The text of an argument. `-` stands for stdin, whose last line break does not count. */
export async function textOf(argument: string): Promise<string> {
  if (argument !== '-') return argument
  return (await readAll(process.stdin)).replace(/\r?\n$/, '')
}

/** The value of a text that is JSON, or else the text itself. */
export function valueOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

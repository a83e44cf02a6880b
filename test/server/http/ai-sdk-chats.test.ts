import { expect, test, vi } from 'vitest'
import { Registry } from '../../../server/sessions/registry.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { RunElsewhere } from '../../helpers/run-elsewhere.ts'
import { eventually } from '../../helpers/server.ts'
import { silent } from '../../helpers/test-actors.ts'

test('a run of another server that is set back begins its step again', async () => {
  const run = new RunElsewhere('alice')
  const find = vi.spyOn(Registry.prototype, 'find').mockReturnValue({ run, own: true })
  try {
    await using server = await httpServed({ elsewhere: silent() })
    const heard = { id: run.id, role: 'assistant', parts: [], metadata: { millrace: { run: run.id, seq: 0 } } }
    const body = { id: 'c', messages: [heard], trigger: 'submit-message', version: 7 }
    const answer = await server.http().request('POST', '/ai-sdk/elsewhere', { body })
    expect(answer.status).toBe(200)
    const text = answer.text()
    await eventually(() => run.readers.size === 1, 'a reader')
    run.texts('void')
    await eventually(() => [...run.readers].every(({ cursor }) => cursor.last === 1), 'the text is read')
    run.newLife(1)
    run.texts('real')
    run.ends('done', {})
    const said = await text
    expect(said).toContain('reset-step')
    expect(said).toContain('real')
    expect(said).not.toContain('load the chat again')
  } finally {
    find.mockRestore()
  }
})

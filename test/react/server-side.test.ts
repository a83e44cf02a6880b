import { createElement, type ReactNode } from 'react'
import { renderToString } from 'react-dom/server'
import { expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { useConnection, useRun, useRuns } from '../../react/index.ts'
import { Command } from '../helpers/command.ts'

test('a server renders components with the hooks, and opens no connection for that', () => {
  const statuses: string[] = []
  const client = createClient('ws://127.0.0.1:9', { onStatus: (status) => statuses.push(status) })
  function Page(): ReactNode {
    const run = useRun(client, 'chat', { follow: { chat: 1 }, input: 'hello' })
    const { runs, isLoaded } = useRuns(client)
    return createElement('p', null, [run.status, useConnection(client).status, runs.length, isLoaded].join(' '))
  }
  expect(renderToString(createElement(Page))).toBe('<p>finding idle 0 false</p>')
  expect(statuses).toEqual([])
})

test('a server component can import the package, which says that it is for clients', async () => {
  const script = `const { useRun } = await import('millrace/react'); console.log(typeof useRun)`
  const args = ['--conditions=react-server', '--input-type=module', '--eval', script]
  await using node = new Command(process.execPath, args)
  expect(await node.ended).toMatchObject({ code: 0, stdout: 'function\n', stderr: '' })
  await using head = new Command('head', ['-1', 'dist/react/index.js'])
  expect((await head.ended).stdout).toMatch(/^'use client';?\n$/)
})

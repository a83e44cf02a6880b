import { microtasks } from '../simulation/virtual-time.ts'
import { failed, opened, ScriptedServer } from './scripted-server.ts'

// A process of its own: every promise of a run that fails is made, and none is looked at.
const server = new ScriptedServer()
const run = server.client().start('chat', {})
const unread: unknown[] = [run.opened, run.result, run.usage, run.end]
void run.send('message', 'hi')
void run.cancel({ call: 'c1' })
server.socket.welcome()
server.socket.say(failed(1, 0, 'rate_limited'))
const other = server.client().start('chat', {})
unread.push(
  other.result,
  other.send('message', () => 1),
)
server.socket.welcome()
server.socket.say(opened(1), failed(1, 1, 'tool_failed'))
await microtasks()
console.log(unread.length === 6 ? 'still here' : 'lost')

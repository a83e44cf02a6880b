import { test } from 'vitest'
import { mutateServer } from '../helpers/hostile-mutations.ts'

test('a server lives through 300,000 damaged messages, and its neighbour is served', () =>
  mutateServer(300_000, Date.now() | 0))

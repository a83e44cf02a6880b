import { test } from 'vitest'
import { mutateServer } from '../helpers/hostile-mutations.ts'

test('a server lives through 3,000 damaged messages, and its neighbour is served', () =>
  mutateServer(3_000, 20_261_120))

import { expect, test } from 'vitest'
import { mutantsAgree } from '../helpers/codec-mutation.ts'

test('the strict decoder and msgpackr behind the scan agree on 1,000,000 damaged messages', () => {
  const seed = Date.now() | 0
  const { accepted, refused } = mutantsAgree(1_000_000, seed)
  console.log(`codec mutation: seed ${seed}, ${accepted} accepted, ${refused} refused`)
  expect(accepted).toBeGreaterThan(50_000)
  expect(refused).toBeGreaterThan(50_000)
})

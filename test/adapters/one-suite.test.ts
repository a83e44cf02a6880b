import { vi } from 'vitest'
import { PAGE_CLIENTS } from './one-clients.ts'
import { oneSuite } from './one-suite.ts'

// The stock agents of AG-UI print every failed run, and a page that is gone is one.
vi.spyOn(console, 'error').mockImplementation(() => {})

oneSuite(PAGE_CLIENTS)

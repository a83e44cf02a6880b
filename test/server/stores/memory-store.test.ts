import { nodeRuntime } from '../../../server/runtime.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { FailingStore } from '../../helpers/failing-store.ts'
import { outboxSuite, runStoreSuite, type StoreHarness } from './run-store-suite.ts'

async function memoryHarness(): Promise<StoreHarness> {
  let store = new FailingStore(memoryStore(), nodeRuntime)
  await store.open()
  return {
    store,
    async restart() {
      await store.close()
      await store.open()
      return store
    },
    async kill() {
      store = store.kill()
      await store.open()
      return store
    },
    async full(is) {
      store.faults.isFull = is
    },
    async [Symbol.asyncDispose]() {},
  }
}

runStoreSuite('memory', memoryHarness)
outboxSuite('memory', memoryHarness)

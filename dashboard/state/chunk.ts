import { createStore, type Store } from './store.ts'

/** How far the code of a chunk has come. */
export type ChunkState<Code> = {
  /** Undefined until it is here. */
  readonly code: Code | undefined
  readonly isLoading: boolean
  /** Whether the last try has failed. It stays true during the next one. */
  readonly hasFailed: boolean
}

/** Code of the page that comes when it is asked for. */
export interface Chunk<Code> extends Store<ChunkState<Code>> {
  /** Begins to load it, unless it is here or on its way. After a failure, it tries again. */
  readonly load: () => void
}

/** @param read imports the code. Where that fails, it is called again by the next `load`. */
export function createChunk<Code>(read: () => Promise<Code>): Chunk<Code> {
  const store = createStore<ChunkState<Code>>({ code: undefined, isLoading: false, hasFailed: false })
  return {
    ...store,
    load() {
      const { code, isLoading } = store.get()
      if (code !== undefined || isLoading) return
      store.set({ ...store.get(), isLoading: true })
      read().then(
        (arrived) => store.set({ code: arrived, isLoading: false, hasFailed: false }),
        () => store.set({ code: undefined, isLoading: false, hasFailed: true }),
      )
    },
  }
}

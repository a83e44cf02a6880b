import type { Run } from 'millrace/client'
import { onScopeDispose, type Ref, ref, shallowRef } from 'vue'

/** A run as a component shows it. */
export type ShownRun = {
  readonly text: Ref<string>
  readonly status: Ref<string>
  readonly show: (run: Run) => void
  readonly stop: () => Promise<void>
}

/** Shows one run at a time, as fast as the page is drawn: a hidden page draws nothing, and the model waits for it. */
export function useRun(): ShownRun {
  const text = ref('')
  const status = ref('')
  const shown = shallowRef<Run>()

  async function read(run: Run): Promise<void> {
    text.value = ''
    status.value = 'running'
    try {
      for await (const piece of run.text()) {
        text.value += piece
        await new Promise(requestAnimationFrame)
      }
      const { outcome, receipt } = await run.end
      status.value = receipt ? `Stopped. Provider: ${receipt.provider}` : outcome
    } catch (error) {
      status.value = (error as Error).message
    }
  }

  // A component that is gone leaves the run alone. `stop` cancels it.
  onScopeDispose(() => shown.value?.detach())
  return {
    text,
    status,
    show(run) {
      shown.value?.detach()
      shown.value = run
      void read(run)
    },
    async stop() {
      await shown.value?.cancel()
    },
  }
}

/** What a process can be told to do: functions by name, each with one input, if any. */
export type Orders = Record<string, (input: never) => unknown>

/** An order on its way. */
export type Order = { call: number; name: string; input: unknown }

/** What became of it. */
export type Outcome = { call: number; value?: unknown; failure?: string }

/** The side of the process that is told: it ends with whoever started it. */
export function obey(orders: Orders): void {
  process.on('message', ({ call, name, input }: Order) => {
    void (async (): Promise<Outcome> => {
      try {
        return { call, value: await orders[name]?.(input as never) }
      } catch (error) {
        return { call, failure: error instanceof Error ? error.message : String(error) }
      }
    })().then((outcome) => process.send?.(outcome))
  })
  process.on('disconnect', () => process.exit(0))
}

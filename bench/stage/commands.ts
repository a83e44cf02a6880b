/** What a process can be asked to do: functions by name, each with one input, if any. */
export type Commands = Record<string, (input: never) => unknown>

/** A command as it travels. */
export type Command = { call: number; name: string; input: unknown }

/** The answer to a command: a value, or why it failed. */
export type Outcome = { call: number; value?: unknown; failure?: string }

/** Answers the commands that this process receives. It ends with the process that started it. */
export function answerCommands(commands: Commands): void {
  process.on('message', ({ call, name, input }: Command) => {
    void (async (): Promise<Outcome> => {
      try {
        return { call, value: await commands[name]?.(input as never) }
      } catch (error) {
        return { call, failure: error instanceof Error ? error.message : String(error) }
      }
    })().then((outcome) => process.send?.(outcome))
  })
  process.on('disconnect', () => process.exit(0))
}

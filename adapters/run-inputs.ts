import type { MillraceError, Run } from '../client-sdk/index.ts'
import type { RunAnswer } from '../formats/conversation.ts'

/** A tool that the page runs, as the agent is told about it. */
export type PageToolSpec = { readonly name: string; readonly description: string; readonly parameters: unknown }

/** The name under which the page of a chat declares its tools: the same one after a reload. */
export function pageOf(chat: string): string {
  return chat.slice(-64)
}

/** Tells a run which tools the page of a chat runs. A refusal ends nothing: the model does without them. */
export function declareTools(run: Run, chat: string, tools: readonly PageToolSpec[]): void {
  run.send('tools', { id: pageOf(chat), tools }).catch((error: unknown) => console.warn(error))
}

/** Sends what a person or the page has answered. What the run no longer waits for is answered already. */
export function sendAnswers(run: Run, answers: readonly RunAnswer[]): Promise<unknown> {
  return Promise.all(
    answers.map(({ type, data }) =>
      run.send(type, data).catch((error: unknown) => {
        if ((error as MillraceError).code !== 'not_found') throw error
      }),
    ),
  )
}

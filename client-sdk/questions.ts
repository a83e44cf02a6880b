import type { UpFrame } from '../protocol/frames.ts'
import { type Deferred, deferred } from './deferred.ts'

type WithoutSid<Frame> = Frame extends { sid: number } ? Omit<Frame, 'sid'> : never

/** A frame of one stream, without the number that the stream has at the time. */
export type StreamFrame = WithoutSid<UpFrame>

type Question = Deferred<unknown> & { readonly frame: StreamFrame }

/**
 * The inputs and cancels of targets that a run has not answered, in order and by name. The stream sends them again
 * after each loss.
 */
export class Questions extends Map<string, Question> {
  /** Adds a question, unless one of that name is open. Resolves with the answer. */
  ask(name: unknown, frame: StreamFrame): Promise<unknown> {
    const question = this.get(String(name)) ?? { ...deferred<unknown>(), frame }
    this.set(String(name), question)
    return question.promise
  }

  /** Removes the question of that name, so that the caller can answer it. */
  take(name: unknown): Question | undefined {
    const question = this.get(String(name))
    this.delete(String(name))
    return question
  }

  /** Rejects all of them. */
  reject(reason: Error): void {
    for (const question of this.values()) question.reject(reason)
  }
}

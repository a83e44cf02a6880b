import type { AnyData } from './events.ts'

/**
 * The types that an actor declares to its clients: its input as sent, its result, and the names and values of its
 * `data` events.
 * They exist for the type checker only: no actor has such a property at run time.
 */
export interface ActorTypes<Input = unknown, Result = unknown, Data extends AnyData = AnyData> {
  /** For the type checker only. */
  readonly '~types'?: { readonly input: Input; readonly result: Result; readonly data: Data }
}

/** Actors by name: `typeof actors` of a server, which a client may import as a type. */
export type ActorMap = { readonly [name: string]: ActorTypes }

type TypesOf<A> = A extends { readonly '~types'?: infer T } ? NonNullable<T> : never

/** The input that actor `A` takes from a client. */
export type InputOf<A> = TypesOf<A> extends { input: infer T } ? T : unknown
/** The value that actor `A` returns in addition to its text. */
export type ResultOf<A> = TypesOf<A> extends { result: infer T } ? T : unknown
/** The value that a run of actor `A` resolves with: the actor's result, or its text if it returns none. */
export type AnswerOf<A> = ResultOf<A> extends undefined ? string : ResultOf<A>
/**
 * The names and values of the `data` events that actor `A` yields, as a union: the name narrows the value.
 *
 * @typeParam None What it is for an actor that yields none. Such an actor may still emit some.
 */
export type DataOf<A, None extends AnyData = AnyData> =
  TypesOf<A> extends { data: infer T extends AnyData } ? ([T] extends [never] ? None : T) : AnyData

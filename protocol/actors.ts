/**
 * What an actor's type tells a client: its input as it is sent, the result it returns, and the values of its `data`
 * events. It exists for the type checker only; no such property is there at run time.
 */
export interface ActorTypes<Input = unknown, Result = unknown, Data = unknown> {
  readonly '~types'?: { readonly input: Input; readonly result: Result; readonly data: Data }
}

/** Actors by name: `typeof actors` of a server, which a client may import as a type. */
export type ActorMap = { readonly [name: string]: ActorTypes }

type TypesOf<A> = A extends { readonly '~types'?: infer T } ? NonNullable<T> : never

/** The input that actor `A` takes from a client. */
export type InputOf<A> = TypesOf<A> extends { input: infer T } ? T : unknown
/** What actor `A` returns beside its text. */
export type ResultOf<A> = TypesOf<A> extends { result: infer T } ? T : unknown
/** What a run of actor `A` resolves with: what the actor returns, or its text where it returns nothing else. */
export type AnswerOf<A> = ResultOf<A> extends undefined ? string : ResultOf<A>
/** The values of the `data` events of actor `A`. */
export type DataOf<A> = TypesOf<A> extends { data: infer T } ? T : unknown

/**
 * `T` if it can travel: text, numbers, booleans, null, bytes, and arrays and objects of these. A part that cannot, such
 * as a function, a `Date`, a `Map`, a promise, a bigint or an instance of a class with methods, is a type error that
 * names it. `unknown` passes; the server checks the value when it is sent.
 */
export type Sendable<T> = T & Checked<T>

/** Nothing has this type. Its argument is the words of the type error. */
type Unsendable<Reason extends string> = { readonly 'cannot be sent': Reason }

type Checked<T> = T extends string
  ? string
  : T extends number
    ? number
    : T extends boolean
      ? boolean
      : T extends null
        ? null
        : T extends void
          ? void
          : T extends bigint
            ? Unsendable<'a bigint: send a number or a string'>
            : T extends symbol
              ? Unsendable<'a symbol'>
              : T extends ArrayBufferView
                ? ArrayBufferView
                : T extends ((...args: never) => unknown) | (abstract new (...args: never) => unknown)
                  ? Unsendable<'a function'>
                  : T extends Date
                    ? Unsendable<'a Date: send its time or its text'>
                    : T extends PromiseLike<unknown>
                      ? Unsendable<'a promise: await it'>
                      : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
                        ? Unsendable<'a Map or a Set: send an object or an array'>
                        : T extends object
                          ? { readonly [Name in keyof T]: Checked<T[Name]> }
                          : unknown

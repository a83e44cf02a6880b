// @ts-expect-error -- the package has no types.
import * as jsdom from 'jsdom'
import { createElement, type ReactNode, StrictMode } from 'react'
import { createRoot } from 'react-dom/client'

/** What is used of a window of `jsdom`. */
type Window = {
  readonly document: object & {
    readonly body: { append(node: object): void }
    createElement(
      name: string,
    ): Parameters<typeof createRoot>[0] & { readonly textContent: string | null; remove(): void }
    dispatchEvent(event: object): boolean
  }
  readonly Event: new (type: string) => object
  requestAnimationFrame(callback: () => void): number
  close(): void
}

const { JSDOM } = jsdom as { JSDOM: new (html: string, options: { pretendToBeVisual: boolean }) => { window: Window } }

/** A component in the page of a window. */
export interface Mounted {
  /** What a person sees of it. */
  readonly text: string
  unmount(): void
}

/**
 * A window in which React renders in StrictMode, without a browser. Like one of a browser it draws nothing while it is
 * hidden. A process has one at a time: what React and the hooks find in a page is in the global object until it is closed.
 */
export class ReactWindow {
  readonly #dom = new JSDOM('<!doctype html>', { pretendToBeVisual: true })
  /** What waits for the next frame, by the number of its request. */
  readonly #undrawn = new Map<number, () => void>()
  readonly #before: [string, PropertyDescriptor | undefined][] = []
  #requests = 0
  #isHidden = false

  static #opened: ReactWindow | undefined

  /** The window of this process. */
  static open(): ReactWindow {
    ReactWindow.#opened ??= new ReactWindow()
    return ReactWindow.#opened
  }

  /** Closes it, if it is open. */
  static async close(): Promise<void> {
    const opened = ReactWindow.#opened
    ReactWindow.#opened = undefined
    if (opened) await opened.#close()
  }

  private constructor() {
    const { window } = this.#dom
    Object.defineProperty(window.document, 'hidden', { get: () => this.#isHidden })
    const globals = {
      // React asks it for the event of the moment. With a document in it, the server in this process would take itself for
      // a page: the package `openai` refuses to be in one.
      window: {},
      document: window.document,
      requestAnimationFrame: (callback: () => void): number => {
        this.#undrawn.set(++this.#requests, callback)
        if (!this.#isHidden) this.#drawSoon()
        return this.#requests
      },
      cancelAnimationFrame: (request: number): void => void this.#undrawn.delete(request),
    }
    for (const [name, value] of Object.entries(globals)) {
      this.#before.push([name, Object.getOwnPropertyDescriptor(globalThis, name)])
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
    }
  }

  /** Renders a component in an element of its own. */
  mount(component: ReactNode): Mounted {
    const { document } = this.#dom.window
    const element = document.createElement('main')
    document.body.append(element)
    const root = createRoot(element)
    root.render(createElement(StrictMode, null, component))
    return {
      get text() {
        return element.textContent ?? ''
      },
      unmount() {
        root.unmount()
        element.remove()
      },
    }
  }

  hide(): void {
    this.#turn(true)
  }

  show(): void {
    this.#turn(false)
    this.#drawSoon()
  }

  async #close(): Promise<void> {
    // React ends its work in later loop turns.
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    for (const [name, before] of this.#before.splice(0)) {
      if (before) Object.defineProperty(globalThis, name, before)
      else Reflect.deleteProperty(globalThis, name)
    }
    this.#dom.window.close()
  }

  #turn(isHidden: boolean): void {
    if (this.#isHidden === isHidden) return
    this.#isHidden = isHidden
    const { document, Event } = this.#dom.window
    document.dispatchEvent(new Event('visibilitychange'))
  }

  #drawSoon(): void {
    this.#dom.window.requestAnimationFrame(() => {
      if (this.#isHidden) return
      const callbacks = [...this.#undrawn.values()]
      this.#undrawn.clear()
      for (const callback of callbacks) callback()
    })
  }
}

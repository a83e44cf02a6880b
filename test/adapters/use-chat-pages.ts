import { Chat as Chat7, useChat as useChat7 } from '@ai-sdk/react'
import { Chat as Chat6, useChat as useChat6 } from '@ai-sdk/react-3'
import { type ChatTransport, DefaultChatTransport, type UIMessage, WebSocketChatTransport } from 'ai'
import { DefaultChatTransport as DefaultChatTransport6 } from 'ai-6'
import { createElement, type ReactNode, useEffect } from 'react'
import { WebSocket } from 'ws'
import { type MessageFacts, millraceChat, millraceTransport } from '../../adapters/ai-sdk.ts'
import { createClient } from '../../client-sdk/node.ts'
import { ReactWindow } from '../helpers/react-window.ts'
import { eventually } from '../helpers/server.ts'
import {
  cancelOverHttp,
  type Ending,
  HEADERS,
  httpUrl,
  type Page,
  type PageClient,
  type PageReading,
  Shown,
  slowFetch,
  TOKEN,
} from './page-client.ts'

type Version = 6 | 7

/** What the hook is given, and how a page with it behaves. */
type OpenChat = {
  readonly given:
    | { readonly id: string; readonly transport: ChatTransport<UIMessage> }
    | { readonly chat: Chat7<UIMessage> }
  /** Stops the run. Default: `stop` of the hook. */
  readonly stop?: (run: string) => void
  readonly close: () => Promise<unknown>
  /** The hook takes all that comes, so a page that takes nothing more leaves its socket unread. */
  readonly hold: () => void
  readonly go: () => void
}

/** What `onFinish` of a chat is told. */
type Finish = { readonly message: UIMessage; readonly isAbort: boolean; readonly isError: boolean }

/** How a chat shows that its answer has ended. */
function endingOf({ message, isAbort, isError }: Finish): Ending {
  const { millrace } = Object(message.metadata) as { millrace?: MessageFacts }
  return millrace?.outcome ?? (isError ? 'error' : isAbort ? 'left' : 'done')
}

/** @param open Makes what the hook is given. Chats of the person's own get `finished`. */
function useChatPage(
  name: string,
  version: Version,
  open: (page: Page, finished: (finish: Finish) => void) => OpenChat,
): PageClient {
  const useChat = version === 7 ? useChat7 : (useChat6 as unknown as typeof useChat7)
  type Seen = { now?: ReturnType<typeof useChat7>; finish?: Finish; over(how: Ending): void }
  type Given = { given: OpenChat['given']; resume: boolean; seen: Seen; onFinish: (finish: Finish) => void }

  function Answer({ given, resume, seen, onFinish }: Given): ReactNode {
    const chat = useChat({ ...given, resume, ...(!('chat' in given) && { onFinish }) })
    useEffect(() => {
      seen.now = chat
      // It is told of the end before it shows it.
      const isReady = chat.status === 'ready' || chat.status === 'error'
      if (isReady && seen.finish) seen.over(endingOf(seen.finish))
    })
    const answer = chat.messages.findLast(({ role }) => role === 'assistant')
    return answer?.parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
  }

  const load = (page: Page, resume: boolean): { seen: Seen; reading: PageReading } => {
    const seen: Seen = { over: () => {} }
    const over = new Promise<Ending>((resolve) => {
      seen.over = resolve
    })
    const onFinish = (finish: Finish): void => {
      seen.finish = finish
    }
    const { given, stop, close, hold, go } = open(page, onFinish)
    const mounted = ReactWindow.open().mount(createElement(Answer, { given, resume, seen, onFinish }))
    const reading: PageReading = {
      get text() {
        return mounted.text
      },
      over,
      hold,
      go,
      stop: () => (stop ? stop(seen.now!.messages.at(-1)!.id) : void seen.now!.stop()),
      async drop() {
        go()
        await close()
        mounted.unmount()
      },
    }
    return { seen, reading }
  }

  return {
    name,
    async start(page) {
      const { seen, reading } = load(page, false)
      await eventually(() => seen.now !== undefined, 'the page is shown')
      void seen.now!.sendMessage({ text: 'go' })
      return reading
    },
    async resume(page) {
      const { reading } = load(page, true)
      // A run that ends before the page has found it is not resumed: it is with the messages that the application keeps.
      await eventually(() => reading.text !== '', 'the page has found its run')
      return reading
    },
    close: () => ReactWindow.close(),
  }
}

/** A class of sockets that can be left unread. */
function slowSockets(): { Socket: never; hold(): void; go(): void } {
  const sockets: WebSocket[] = []
  class Socket extends WebSocket {
    constructor(address: string | URL, ...rest: [(string | string[])?, object?]) {
      super(address, ...(rest as []))
      sockets.push(this)
    }
  }
  return {
    // Whatever class of sockets a library names.
    Socket: Socket as never,
    hold: () => sockets.at(-1)?.pause(),
    go: () => {
      for (const socket of sockets) if (socket.readyState === WebSocket.OPEN) socket.resume()
    },
  }
}

/** The hook makes the chat. Where it is unmounted, its run is stopped: a page that is gone unmounts nothing. */
export function hookOverClient(version: Version): PageClient {
  return useChatPage(`useChat of the AI SDK ${version} over the client`, version, ({ url, actor, chat }) => {
    const { Socket, ...slow } = slowSockets()
    const client = createClient(url, { token: TOKEN, WebSocket: Socket })
    const transport = millraceTransport({ client, agent: actor, version, onAbort: 'cancel' })
    return { given: { id: chat, transport }, close: () => client.close({ runs: 'detach' }), ...slow }
  })
}

/** The chat is made outside of the component. */
export function chatOverClient(version: Version): PageClient {
  const Chat = version === 7 ? Chat7 : (Chat6 as unknown as typeof Chat7)
  return useChatPage(`millraceChat of the AI SDK ${version}`, version, ({ url, actor, chat: id }, onFinish) => {
    const { Socket, ...slow } = slowSockets()
    const client = createClient(url, { token: TOKEN, WebSocket: Socket })
    const chat = millraceChat(Chat, { client, agent: actor, id, version, onFinish })
    return { given: { chat }, close: () => client.close({ runs: 'detach' }), ...slow }
  })
}

export function hookOverWebSocket(): PageClient {
  return useChatPage("useChat over the AI SDK's own WebSocket transport", 7, ({ url, actor, chat }) => {
    const { Socket, ...slow } = slowSockets()
    const transport = new WebSocketChatTransport<UIMessage>({
      ...{ url: `${url}/ai-sdk/${actor}`, headers: HEADERS, webSocket: Socket },
    })
    return { given: { id: chat, transport }, close: async () => transport.close(), ...slow }
  })
}

/** A request that is closed may be a page that is loaded again: this one stops its run by the id of the message. */
export function hookOverHttp(version: Version): PageClient {
  const Transport =
    version === 7 ? DefaultChatTransport : (DefaultChatTransport6 as unknown as typeof DefaultChatTransport)
  return useChatPage(`useChat over the HTTP transport of the AI SDK ${version}`, version, (page) => {
    const leaving = new AbortController()
    const shown = new Shown()
    const api = `${httpUrl(page)}/ai-sdk/${page.actor}`
    const transport = new Transport<UIMessage>({
      ...{ api, headers: HEADERS, body: { version } },
      fetch: slowFetch(shown, leaving.signal),
    })
    return {
      given: { id: page.chat, transport },
      stop: (run) => cancelOverHttp(page, run),
      close: async () => leaving.abort(),
      hold: () => shown.hold(),
      go: () => shown.go(),
    }
  })
}

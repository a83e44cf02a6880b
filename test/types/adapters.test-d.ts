import { AbstractAgent as Agent1 } from '@ag-ui/client'
import { AbstractAgent as Agent0 } from '@ag-ui/client-0'
import { Chat as Chat7 } from '@ai-sdk/react'
import type { ChatTransport, UIMessage, UIMessageChunk } from 'ai'
import type { UIMessageChunk as UIMessageChunk6 } from 'ai-6'
import { expectTypeOf } from 'vitest'
import { millraceAgent } from '../../adapters/ag-ui.ts'
import { millraceChat, millraceTransport } from '../../adapters/ai-sdk.ts'
import { createClient } from '../../client-sdk/index.ts'
import type { UiChunk } from '../../formats/ai-sdk-chunk.ts'
import type { ConversationInput } from '../../formats/conversation.ts'
import type { InputOf } from '../../protocol/actors.ts'
import { agent } from '../../server/index.ts'
import type { actors as clientActors } from './client.test-d.ts'

// Every chunk is one of the AI SDK's own types. Version 6 knows all but two.
expectTypeOf<UiChunk>().toExtend<UIMessageChunk>()
expectTypeOf<
  Exclude<UiChunk, { type: 'reset-step' | 'tool-approval-response' | 'finish' }>
>().toExtend<UIMessageChunk6>()

// What the messages of a chat become is the input of an agent.
export const chat = agent({})
export const input: InputOf<typeof chat> = {} as ConversationInput

const client = createClient<typeof clientActors & { chat: typeof chat }>('ws://localhost')
expectTypeOf(millraceTransport({ client, agent: 'chat' })).toExtend<ChatTransport<UIMessage>>()
// @ts-expect-error there is no such actor
millraceTransport({ client, agent: 'caht' })
millraceTransport({ client, agent: 'count', input: (messages) => ({ to: messages.length }) })
// @ts-expect-error the actor takes another input
millraceTransport({ client, agent: 'count', input: (messages) => messages.length })

// The chat is of the class that was given, with the messages of that class.
type Mine = UIMessage<{ mood: string }>
expectTypeOf(millraceChat(Chat7, { client, agent: 'chat', id: 'c1' })).toEqualTypeOf<Chat7<UIMessage>>()
expectTypeOf(millraceChat(Chat7<Mine>, { client, agent: 'chat', id: 'c1' })).toEqualTypeOf<Chat7<Mine>>()
// @ts-expect-error the transport is made of the client
millraceChat(Chat7, { client, agent: 'chat', transport: undefined })

// An agent is of the class that was given, whichever generation it is of.
expectTypeOf(millraceAgent(Agent1, { client, agent: 'chat' })).toEqualTypeOf<Agent1>()
expectTypeOf(millraceAgent(Agent0, { client, agent: 'chat' })).toEqualTypeOf<Agent0>()
millraceAgent(Agent1, { client, agent: 'count', input: ({ messages }) => ({ to: messages.length }) })
// @ts-expect-error there is no such actor
millraceAgent(Agent1, { client, agent: 'caht' })

import { MillraceError } from '../../protocol/errors.ts'
import type { ActorContext } from '../actors/actor.ts'
import { chosenModel } from './answer-request.ts'
import type { AnswerSettings } from './answer-run.ts'
import type { ChangeInput } from './conversation-input.ts'
import { permit, runsIn } from './conversations.ts'
import type { TreeMessage } from './message-tree.ts'
import type { Draft, OpenConversation } from './open-conversation.ts'

/**
 * Changes a conversation as a client asks, without an answer.
 * @throws MillraceError `forbidden`; `not_found` for an unknown conversation or message, or a model that clients may not
 *   choose; `overloaded` for one that is removed while an answer is under way.
 */
export async function changeConversation(
  input: ChangeInput,
  { principal, run }: ActorContext,
  settings: AnswerSettings,
): Promise<null> {
  const { view, conversations } = settings
  const key = { owner: input.owner ?? principal.id, id: input.conversation }
  permit(view, principal, 'write', run.actor, key)
  const { conversation, release } = await conversations.open(key, run.id)
  try {
    if (!conversation.record) throw new MillraceError('not_found', 'there is no such conversation')
    if (input.type === 'remove') await remove(conversation, run.id, settings)
    else await conversation.change((draft) => apply(draft, input, settings))
    return null
  } finally {
    release()
  }
}

/** Removes a conversation with all that belongs to it: also the logs of its runs, and the uploads that it names. */
async function remove(
  conversation: OpenConversation,
  own: string,
  { agent, view, conversations }: Pick<AnswerSettings, 'agent' | 'view' | 'conversations'>,
): Promise<void> {
  const { key } = conversation
  const tree = await conversations.remove(conversation)
  const answers = runsIn(tree)
  // Its own run says nothing, and its client waits for the end.
  view.forget([...answers, ...conversations.runsOf(key)].filter((run) => run !== own))
  await Promise.all(answers.map((run) => view.removeStored(run)))
  const { uploads } = agent.files
  for (const { uploads: named = [], by = key.owner } of tree.all)
    for (const id of named) uploads?.remove({ id: by }, id)
}

function apply(
  draft: Draft,
  input: Exclude<ChangeInput, { type: 'remove' }>,
  settings: Pick<AnswerSettings, 'allowsModel'>,
): void {
  switch (input.type) {
    case 'branch':
      return draft.set({ leaf: input.message === null ? null : find(draft, input.message).id })
    case 'select':
      return draft.set({ leaf: draft.tree.endBelow(find(draft, input.message).id) })
    case 'rename':
      return draft.set({ title: input.title })
    case 'model':
      return draft.set({ model: input.model === null ? undefined : chosenModel(input.model, settings) })
  }
}

function find({ tree }: Draft, id: string): TreeMessage {
  const message = tree.get(id)
  if (message) return message
  throw new MillraceError('not_found', 'there is no such message in this conversation')
}

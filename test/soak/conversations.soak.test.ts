/** The sequences of a conversation, with their full counts. */
import '../server/conversations/sequences.test.ts'

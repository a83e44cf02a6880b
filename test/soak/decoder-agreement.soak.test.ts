/** The same with a million damaged messages. */
import '../protocol/decoder-agreement.test.ts'

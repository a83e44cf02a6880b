/** These random texts, with their full counts. */
import '../client-sdk/smooth.test.ts'

/** All of these experiments, with their full counts. */
import '../client-sdk/random-server.test.ts'

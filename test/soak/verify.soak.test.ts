/** Broken servers and clients, each judged by every check. */
import '../verify/client.test.ts'
import '../verify/server.test.ts'

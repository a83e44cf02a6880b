/** Broken servers and clients, each judged by every check. */
import '../verify/server.test.ts'

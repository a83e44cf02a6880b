/**
 * The tests that start programs: the command line, a browser, a Redis, a server of tools, a client that is judged. Processes
 * are most of what they cost. `test/architecture.test.ts` finds one that is missing here.
 */
export const PROGRAM_TESTS: readonly string[] = [
  'test/cli/*.test.ts',
  'test/docs-site.test.ts',
  'test/e2e/browser.test.ts',
  'test/e2e/cluster.test.ts',
  'test/e2e/dashboard.test.ts',
  'test/e2e/deployment.test.ts',
  'test/e2e/react.test.ts',
  'test/e2e/shared-connection.test.ts',
  'test/e2e/stored-runs.test.ts',
  'test/e2e/two-servers.test.ts',
  'test/react/server-side.test.ts',
  'test/server/conversations/store.test.ts',
  'test/server/conversations/two-servers.test.ts',
  'test/server/inspector/elsewhere.test.ts',
  'test/server/metrics/prometheus.test.ts',
  'test/server/notices/delivery.test.ts',
  'test/server/runs/remote-actors.test.ts',
  'test/server/runs/two-nodes.test.ts',
  'test/server/runs/two-releases.test.ts',
  'test/server/stores/redis-appends.test.ts',
  'test/server/stores/redis-failures.test.ts',
  'test/server/stores/redis-store.test.ts',
  'test/server/stores/sqlite-file.test.ts',
  'test/server/tools/mcp/mcp-matrix.test.ts',
  'test/server/tools/mcp/mcp-tools.test.ts',
  'test/simulation/model-redis.test.ts',
  'test/verify/client.test.ts',
  'test/verify/documents.test.ts',
]

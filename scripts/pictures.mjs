// Draws the pictures of docs/ that show workflows and teams, from their definitions: `node scripts/pictures.mjs`.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { agent, researchTeam, workflow } from 'millrace/server'

const writer = agent({ instructions: 'Write what you are asked for, in one paragraph.' })

/** The definitions of docs/workflows.md and docs/teams.md, as the config file of the command line. */
const actors = {
  article: workflow({
    steps: (flow) =>
      flow
        .step('draft', writer)
        .parallel('review', (branch) => ({ facts: branch.step('check', writer), style: branch.step('count', () => 1) }))
        .approve('publish')
        .step('end', () => 1),
  }),
  'research-team': researchTeam({ members: { web: writer, books: writer, writer }, writer: 'writer' }),
}
export default { actors }

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('..', import.meta.url))
  for (const name of Object.keys(actors))
    execFileSync(
      process.execPath,
      ['dist/server/cli/main.js', 'graph', name, '--config', 'scripts/pictures.mjs', '--out', `docs/${name}.svg`],
      { cwd: root, stdio: 'inherit' },
    )
}

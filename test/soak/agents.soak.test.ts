/** All of these experiments, with their full counts. */
import '../simulation/agents.test.ts'

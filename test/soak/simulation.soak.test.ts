/** All of these experiments, with their full counts. */
import '../simulation/simulation.test.ts'

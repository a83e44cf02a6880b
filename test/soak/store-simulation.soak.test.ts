/** All of these experiments, with their full counts. */
import '../simulation/stores.test.ts'

/** All of these experiments, with their full counts, of one adapter: the counts are those of the suite of all of them. */
import '../server/models/ollama.test.ts'

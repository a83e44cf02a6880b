/** All of these experiments, with their full counts; adapters of both ways to frame an answer, events and lines. */
import '../e2e/models.test.ts'
import '../server/models/ollama.test.ts'
import '../server/models/openai.test.ts'
